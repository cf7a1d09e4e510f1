# The image holds the service without the embedded PostgreSQL, and runs it as a user that owns nothing in it.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY service service
COPY migrations migrations
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home manage-orders
COPY --from=build /venv /venv
# An empty PYTHONTZPATH makes the pinned tzdata package decide, not the image's own copy.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONTZPATH= MANAGE_ORDERS_HOST=0.0.0.0
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('MANAGE_ORDERS_PORT', 8080)), timeout=2); c.request('GET', '/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["manage-orders"]
CMD ["serve"]
