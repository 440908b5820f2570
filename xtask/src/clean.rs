//! `clean`: removes what was built.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::cache::remove_tree;
use crate::context::Context;

/// What to remove.
#[derive(Args)]
pub struct Options {
    /// Also the cache's entries that were not used for --days
    #[arg(long)]
    cache: bool,
    /// With --cache: keep what was used within this many days
    #[arg(long, default_value_t = 0)]
    days: u64,
}

/// Removes out/, and entries of the cache if asked to.
pub fn run(context: &Context, options: &Options) -> Result<()> {
    remove_tree(&context.out)?;
    if options.cache {
        for path in
            context.cache.prune(Duration::from_secs(options.days.saturating_mul(24 * 3600)))?
        {
            println!("removed {}", path.display());
        }
    }
    Ok(())
}
