# dnamdlm on CPUs, with the versions of constraints.txt:
#   docker build -t dnamdlm .
#   docker run --rm -v "$PWD:/data" dnamdlm sample model=yeast-demo num_sequences=4 length=200 out=x.fa
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps -c constraints.txt --wheel-dir /dist .

FROM python:3.11-slim-bookworm
# g++ compiles the scan of Mamba networks once; without it they run in portable form.
RUN apt-get update && apt-get install --yes --no-install-recommends g++ \
  && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/constraints.txt /dist/ /opt/dist/
# the build of torch for CPUs satisfies the same line of constraints.txt, without CUDA libraries.
RUN pip install --no-cache-dir -c /opt/dist/constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu \
    "torch==2.13.0+cpu" \
  && pip install --no-cache-dir -c /opt/dist/constraints.txt "$(echo /opt/dist/*.whl)[dna,text]" \
  && rm -rf /opt/dist \
  && useradd --create-home user
USER user
WORKDIR /data
ENTRYPOINT ["dnamdlm"]
CMD ["--help"]
