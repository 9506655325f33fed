# The dashboard: docker build -t fitcalc . && docker run --rm -p 8501:8501 --read-only --tmpfs /tmp fitcalc
FROM python:3.11-slim AS build
WORKDIR /src
COPY constraints.txt ./
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY fitcalc fitcalc
COPY app app
COPY engines_db engines_db
COPY hardware_db hardware_db
COPY models_db models_db
COPY calibration calibration
RUN python -m venv /opt/fitcalc \
    && /opt/fitcalc/bin/pip install --no-cache-dir --disable-pip-version-check \
        --constraint constraints.txt '.[app,deploy]' \
    && /opt/fitcalc/bin/pip uninstall --yes --quiet pip

FROM python:3.11-slim
COPY --from=build /opt/fitcalc /opt/fitcalc
ENV HOME=/tmp \
    PATH=/opt/fitcalc/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
USER 65534:65534
WORKDIR /tmp
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["fitcalc", "dashboard", "--no-open", "--address", "0.0.0.0"]
