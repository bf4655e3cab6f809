# The service as a container image, from the static commands that scripts/release built. The image has
# no shell. It runs as the user nonroot (65532), and its data is in /data.
FROM gcr.io/distroless/static-debian12:nonroot
ARG TARGETARCH
COPY dist/image/${TARGETARCH}/aurora-discovery /aurora-discovery
WORKDIR /data
ENV AURORA_DATA=/data AURORA_LISTEN=0.0.0.0:8080
VOLUME /data
EXPOSE 8080
USER nonroot
HEALTHCHECK --interval=30s --timeout=5s CMD ["/aurora-discovery", "health"]
ENTRYPOINT ["/aurora-discovery"]
CMD ["serve"]
