//! What the worker has to say, on standard error.

use anyhow::Context;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Without `--log` and `RUST_LOG`.
const DEFAULT: &str = "warn,vmwp=info";

/// Starts logging what `filter` lets through, or else `RUST_LOG`.
pub fn start(filter: Option<&str>) -> anyhow::Result<()> {
    let filter = match filter {
        Some(filter) => filter.to_owned(),
        None => std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| DEFAULT.into()),
    };
    let filter = EnvFilter::try_new(&filter)
        .with_context(|| format!("{filter} is no filter for the log"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}
