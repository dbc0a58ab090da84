# risctl in a container, for CPUs or GPUs:
#   docker build -t risctl .
#   docker build -t risctl --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 .
# The wheels of torch bring CUDA, which makes most of the size. TORCH_INDEX takes the address of PyTorch's index of builds
# for CPUs alone, which its site gives (Compute Platform: CPU): a seventh of it.
ARG BASE=ubuntu:24.04
FROM ${BASE}

ARG TORCH_INDEX=
ARG EXTRAS=video,tables

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# The distribution's Python: no version of it is pinned, so that its security updates come with each build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/risctl
ENV PATH=/opt/risctl/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# torch first: it is most of the image, and stays in its layer when risctl changes.
# hadolint ignore=DL3013
RUN pip install torch torchvision ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"}

COPY pyproject.toml hatch_build.py README.md LICENSE /src/
COPY risctl /src/risctl
COPY recipes /src/recipes
RUN pip install "/src[${EXTRAS}]" \
    && useradd --create-home --uid 10001 risctl
USER 10001
WORKDIR /data
ENTRYPOINT ["risctl"]
CMD ["--help"]
