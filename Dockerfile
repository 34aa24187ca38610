# The page in a container: docker build -t memory-wrap . && docker run -p 7860:7860 memory-wrap
# Everything is fetched while building; running needs no network.
FROM python:3.13-slim

# Read by pip; on a Space, a variable of this name. Torch's index of builds without CUDA, which
# pytorch.org names, makes the image far smaller: of two builds of one version pip takes the one
# with a suffix, here 2.11.0+cpu.
ARG PIP_EXTRA_INDEX_URL

# Hugging Face Spaces run containers as this user.
RUN useradd --create-home --uid 1000 user
WORKDIR /home/user/app

# Before the code, so that a change of it does not install everything again.
COPY requirements.txt .
RUN pip install --no-cache-dir --requirement requirements.txt

# Owned by the user, because checkpoints may be readable by their owner only.
COPY --chown=1000:1000 memorywrap memorywrap
COPY --chown=1000:1000 app app
COPY --chown=1000:1000 checkpoints checkpoints

USER 1000
ENV GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    GRADIO_ANALYTICS_ENABLED=False \
    HF_HUB_DISABLE_TELEMETRY=1 \
    HF_HUB_OFFLINE=1
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
# As Ctrl-C, on which the page deletes what people uploaded.
STOPSIGNAL SIGINT
CMD ["python", "-m", "app"]
