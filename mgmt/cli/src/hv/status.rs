//! `zm hv status`.

use super::client::{Hypervisor, PropertySource};
use crate::output::{Table, bytes, duration, hertz, hex};
use serde_json::{Value, json};
use std::io::Write;
use zemindef::cpuid::Version;
use zemindef::info::{CpuFeatures, HvInfo};
use zemindef::log::Level;

/// Asks and prints.
pub fn run<S: PropertySource>(
    hypervisor: &Hypervisor<S>,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let info = hypervisor.info()?;
    if as_json {
        writeln!(out, "{:#}", json(&info))?
    } else {
        writeln!(out, "{}", text(&info))?
    }
    Ok(())
}

fn text(info: &HvInfo) -> String {
    let mut table = Table::prose();
    let mut add = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    let pages = |count: u64| bytes(count.saturating_mul(4096));
    add("Hypervisor", format!("Zemin {}", Version(info.version)));
    add("Build", hex(&info.build_id));
    add("Uptime", duration(info.uptime_100ns));
    add("Processors", format!("{} logical, {}", info.lp_count, backend(info)));
    add("Features", features(info.cpu_features).join(", "));
    add("Clocks", format!("TSC {}, APIC timer {}", hertz(info.tsc_hz), hertz(info.apic_hz)));
    add(
        "Partitions",
        format!(
            "{} (the parent has {} virtual processors)",
            info.partition_count, info.root_vp_count
        ),
    );
    add("Scheduler", scheduler(info.scheduler_type));
    add("Machine memory", bytes(info.ram_total_bytes));
    add(
        "Own memory",
        format!("image {}, log ring {}", bytes(info.image_bytes), bytes(info.log_ring_bytes)),
    );
    add(
        "Own pool",
        format!("{} of {} free", pages(info.pool_free_pages), pages(info.pool_total_pages)),
    );
    add("Deposited", format!("{} by the parent for itself", pages(info.root_deposited_pages)));
    add("Log", format!("level {}, {} written so far", level(info.log_level), bytes(info.log_next)));
    table.render()
}

fn json(info: &HvInfo) -> Value {
    json!({
        "version": Version(info.version).to_string(),
        "build_id": hex(&info.build_id),
        "uptime_us": info.uptime_100ns / 10,
        "lp_count": info.lp_count,
        "backend": backend(info),
        "cpu_features": features(info.cpu_features),
        "tsc_hz": info.tsc_hz,
        "apic_hz": info.apic_hz,
        "partition_count": info.partition_count,
        "root_vp_count": info.root_vp_count,
        "scheduler": scheduler(info.scheduler_type),
        "ram_total_bytes": info.ram_total_bytes,
        "image_bytes": info.image_bytes,
        "pool_total_pages": info.pool_total_pages,
        "pool_free_pages": info.pool_free_pages,
        "root_deposited_pages": info.root_deposited_pages,
        "log_ring_bytes": info.log_ring_bytes,
        "log_next": info.log_next,
        "log_level": level(info.log_level),
    })
}

fn backend(info: &HvInfo) -> String {
    info.backend.name().map_or_else(|| format!("back end {}", info.backend.0), str::to_owned)
}

/// Names of known bits, and whatever is left as a number.
fn features(features: CpuFeatures) -> Vec<String> {
    let known = CpuFeatures::NAMES.into_iter().filter(|&(bit, _)| features.contains(bit));
    let (mut names, mut rest) = (Vec::new(), features.0);
    for (bit, name) in known {
        names.push(name.to_owned());
        rest &= !bit.0;
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    if names.is_empty() { vec!["none".to_owned()] } else { names }
}

fn scheduler(kind: u32) -> String {
    match kind {
        1 => "classic".to_owned(),
        2 => "classic with SMT".to_owned(),
        3 => "core".to_owned(),
        4 => "root".to_owned(),
        _ => format!("type {kind}"),
    }
}

fn level(number: u32) -> String {
    let known = u8::try_from(number).ok().and_then(Level::from_number);
    known.map_or_else(|| number.to_string(), |level| level.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zemindef::info::Backend;
    use zerocopy::FromZeros;

    fn sample() -> HvInfo {
        HvInfo {
            size: size_of::<HvInfo>() as u32,
            version: Version::new(0, 1, 0).0,
            build_id: [0xAB; 20],
            lp_count: 4,
            root_vp_count: 4,
            partition_count: 1,
            backend: Backend::SVM,
            scheduler_type: 1,
            log_level: 2,
            cpu_features: CpuFeatures(CpuFeatures::SLAT.0 | CpuFeatures::X2APIC.0 | 1 << 40),
            tsc_hz: 2_000_000_000,
            uptime_100ns: 650_000_000,
            pool_total_pages: 512,
            pool_free_pages: 256,
            ..HvInfo::new_zeroed()
        }
    }

    #[test]
    fn every_line_is_aligned_and_says_its_unit() {
        let text = text(&sample());
        for line in [
            "Hypervisor      Zemin 0.1.0",
            "Uptime          1 min 5 s",
            "Processors      4 logical, AMD-V (SVM)",
            "Features        nested paging, x2APIC, 0x10000000000",
            "Scheduler       classic",
            "Own pool        1.0 MiB of 2.0 MiB free",
            "Log             level info, 0 B written so far",
        ] {
            assert!(text.lines().any(|actual| actual == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn unknown_values_are_shown_as_numbers() {
        let info = HvInfo { backend: Backend(7), scheduler_type: 9, log_level: 77, ..sample() };
        let value = json(&info);
        assert_eq!(value["backend"], "back end 7");
        assert_eq!(value["scheduler"], "type 9");
        assert_eq!(value["log_level"], "77");
        assert_eq!(value["uptime_us"], 65_000_000);
    }
}
