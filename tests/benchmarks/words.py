"""Words that made-up orders consist of, the commonest first."""

from __future__ import annotations

from dataclasses import dataclass


def _ranked(words: str) -> tuple[str, ...]:
    return tuple(words.split("|"))


FIRST_NAMES = _ranked(
    "Maria|James|Anna|John|Michael|Laura|Peter|Sarah|David|Julia|Thomas|Emma|Daniel|Sofia|Robert|Marie|José|Lena|Paul|"
    "Lucía|Martin|Hannah|Andreas|Olivia|François|Chloé|Lukas|Carlos|Elena|Jürgen|Emily|William|Nadia|Pierre|Giulia|Marco|"
    "Zoë|Søren|Ingrid|Björn|Agnieszka|Łukasz|Chiara|Manuel|Carmen|Antoine|Camille|Ravi|Priya|Wei|Yuki|Fatima|Omar|Ahmed|"
    "Leila|Noah|Mia|Jonas|Frida|Nils|Astrid|Iván|Inés|Óscar|Beatriz|Hugo|Léa|Théo|Margaux|Stefan|Katrin|Uwe|Günther|Heidi|"
    "Kathleen|Brian|Megan|Tyler|Ashley|Brandon|Destiny|Xavier|Quentin|Ophelia|Barnaby|Wilhelmina|Thaddeus|Zuzana|Přemysl"
)
LAST_NAMES = _ranked(
    "Smith|Müller|García|Johnson|Schmidt|Martin|Williams|Rossi|Brown|Fernández|Jones|Schneider|Dubois|Miller|Fischer|"
    "Davis|Weber|Rodríguez|Wilson|Meyer|Bernard|Anderson|Wagner|López|Taylor|Becker|Petit|Thomas|Schulz|Sánchez|Moore|"
    "Hoffmann|Robert|Jackson|Schäfer|Pérez|White|Koch|Richard|Harris|Bauer|Gómez|Clark|Richter|Durand|Lewis|Klein|Moreno|"
    "Robinson|Wolf|Leroy|Walker|Schröder|Ruiz|Young|Neumann|Simon|Allen|Schwarz|Jiménez|King|Zimmermann|Laurent|Wright|"
    "Braun|Ferrari|Scott|Krüger|Bianchi|Hill|Hartmann|Colombo|Green|Lange|Ricci|Adams|Werner|Marino|Baker|Krause|Greco|"
    "Nelson|Lehmann|Lefebvre|Carter|Köhler|Conti|Mitchell|Herrmann|Gallo|O'Brien|Nowak|Kowalski|Novák|Jørgensen|Åkesson|"
    "Nguyen|Tanaka|Patel|Singh|Haddad|Abernathy|Featherstone|Quackenbush|Czerwiński|Vandenberghe|Papadopoulos"
)
STREETS = _ranked(
    "Main|Park|Oak|Church|Station|Mill|High|School|Garden|Lake|Hill|River|Forest|Market|Castle|Bridge|Spring|Victoria|"
    "Washington|Lincoln|Harbour|Meadow|Sunset|Cedar|Maple|Elm|Chestnut|Orchard|Windmill|Lighthouse"
)
ADJECTIVES = _ranked(
    "Classic|Premium|Modern|Compact|Lightweight|Foldable|Waterproof|Wireless|Portable|Adjustable|Handmade|Organic|"
    "Rechargeable|Insulated|Vintage|Ergonomic|Reversible|Stackable|Magnetic|Ultralight|Recycled|Thermal|Silent|Nordic"
)
MATERIALS = _ranked(
    "Steel|Cotton|Wooden|Leather|Ceramic|Bamboo|Glass|Silicone|Wool|Linen|Aluminium|Cork|Copper|Felt|Titanium|Porcelain|"
    "Velvet|Granite|Rattan|Marble"
)
PRODUCTS = _ranked(
    "Mug|Bottle|Lamp|Backpack|Chair|Blanket|Charger|Notebook|Pan|Knife|Towel|Speaker|Headphones|Keyboard|Shelf|Clock|Wallet|"
    "Pillow|Umbrella|Tent|Kettle|Mirror|Basket|Planter|Candle|Scarf|Gloves|Socks|Jacket|Helmet|Stroller|Teapot|Grater|Bookend|"
    "Toolbox|Ladder|Hammock|Binoculars|Tripod|Thermometer|Doormat|Coaster|Apron|Corkscrew|Birdhouse|Xylophone"
)
COLOURS = _ranked(
    "Black|White|Blue|Grey|Red|Green|Beige|Navy|Pink|Yellow|Brown|Orange|Teal|Crème|Purple|Turquoise|Olive"
)
PURPOSES = _ranked(
    "for Home and Office|for Kitchen|for Travel|for Outdoor Use|with Lid|with Gift Box|Set of 2|for Children|Set of 4|"
    "with Carrying Case|for Garden and Terrace|Extra Large|for Camping|with Handle|Pack of 6|for Café and Bar|on Wheels"
)


@dataclass(frozen=True, slots=True)
class Market:
    """Where orders are placed, and where they go."""

    marketplace_id: str
    currency_code: str
    country_code: str
    cities: tuple[tuple[str, str], ...]  # with the beginning of their postal codes
    carriers: tuple[str, ...]


MARKETS = (
    Market(
        "ATVPDKIKX0DER",
        "USD",
        "US",
        (
            ("New York", "100"), ("Los Angeles", "900"), ("Chicago", "606"), ("Houston", "770"), ("Phoenix", "850"),
            ("Philadelphia", "191"), ("San Antonio", "782"), ("San Diego", "921"), ("Dallas", "752"), ("Austin", "787"),
            ("Seattle", "981"), ("Denver", "802"), ("Boston", "021"), ("Portland", "972"), ("Nashville", "372"),
            ("Springfield", "627"), ("Albuquerque", "871"), ("Chattanooga", "374"), ("Truth or Consequences", "879"),
        ),
        ("UPS", "USPS", "FEDEX"),
    ),
    Market(
        "A1PA6795UKMFR9",
        "EUR",
        "DE",
        (
            ("Berlin", "101"), ("Hamburg", "202"), ("München", "803"), ("Köln", "506"), ("Frankfurt am Main", "603"),
            ("Stuttgart", "701"), ("Düsseldorf", "402"), ("Leipzig", "041"), ("Dresden", "010"), ("Nürnberg", "904"),
            ("Saarbrücken", "661"), ("Würzburg", "970"), ("Garmisch-Partenkirchen", "824"),
        ),
        ("DHL", "DPD", "HERMES"),
    ),
    Market(
        "A1F83G8C2ARO7P",
        "GBP",
        "GB",
        (
            ("London", "SW1A "), ("Birmingham", "B1 "), ("Manchester", "M1 "), ("Glasgow", "G1 "), ("Leeds", "LS1 "),
            ("Edinburgh", "EH1 "), ("Bristol", "BS1 "), ("Cardiff", "CF10 "), ("Newcastle upon Tyne", "NE1 "),
        ),
        ("ROYAL_MAIL", "DPD", "EVRI"),
    ),
    Market(
        "A13V1IB3VIYZZH",
        "EUR",
        "FR",
        (
            ("Paris", "750"), ("Marseille", "130"), ("Lyon", "690"), ("Toulouse", "310"), ("Nice", "060"),
            ("Nantes", "440"), ("Orléans", "450"), ("Besançon", "250"), ("Saint-Étienne", "420"),
        ),
        ("COLISSIMO", "CHRONOPOST"),
    ),
    Market(
        "APJ6JRA9NG5V4",
        "EUR",
        "IT",
        (("Roma", "001"), ("Milano", "201"), ("Napoli", "801"), ("Torino", "101"), ("Forlì", "471")),
        ("BRT", "GLS"),
    ),
    Market(
        "A1RKKUPIHCS9HS",
        "EUR",
        "ES",
        (("Madrid", "280"), ("Barcelona", "080"), ("Valencia", "460"), ("Málaga", "290"), ("A Coruña", "150")),
        ("SEUR", "CORREOS"),
    ),
    Market(
        "A2EUQ1WTGCTBG2",
        "CAD",
        "CA",
        (("Toronto", "M5H "), ("Montréal", "H2X "), ("Vancouver", "V5K "), ("Québec", "G1R ")),
        ("CANADA_POST", "PUROLATOR"),
    ),
)  # fmt: skip
RARE_MARKET = Market("A21TJRUUN4KGV", "INR", "IN", (("Mumbai", "400"), ("Bengaluru", "560")), ("BLUEDART",))
