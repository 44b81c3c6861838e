# syntax=docker/dockerfile:1

# --- build: the Rust version of Cargo.toml, on the Debian that the last stage has (same libc) ---
FROM rust:1.95-bookworm AS build
WORKDIR /build

# The dependencies alone, with nothing of ours in them: this layer stays until Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --lib --bin millrace

COPY config config
COPY src src
# Cargo compares times, and ours may be older than the empty files' build.
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --lib --bin millrace

# --- run: one binary, which needs libc and libgcc_s and nothing else; no package is installed ---
FROM debian:bookworm-slim
# The AWS SDK trusts what the system trusts. (Redis and PostgreSQL: Mozilla's roots are in the binary.)
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Amazon signs Aurora's certificates with roots of its own, which are in no system's list. Use it by
# ledger.url = "postgres://…?sslmode=verify-full&sslrootcert=/etc/ssl/certs/rds.pem"; sslmode=require does not look.
ADD --chmod=444 https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem /etc/ssl/certs/rds.pem
COPY --from=build /build/target/release/millrace /usr/local/bin/millrace

# A number, so that an orchestrator can see that it is not root. It owns nothing in the image.
USER 10001:10001
# ECS waits for stopTimeout after it; shutdown.budget must be below that.
STOPSIGNAL SIGTERM
# The settings of every command, the health check's too.
ENV MILLRACE_CONFIG=/etc/millrace/millrace.toml
# Asks /live of this very process at http.listen. No shell, no curl; it touches no dependency, because a container
# that is restarted does not bring a database back.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/millrace", "status", "--live"]
ENTRYPOINT ["/usr/local/bin/millrace"]
CMD ["run"]
