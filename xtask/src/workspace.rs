//! The workspace as cargo sees it: which packages there are, and what is done with each.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::context::Context;
use crate::step::output;

/// The crate of the system tests: it needs the built machine, so it is no part of the unit tests.
pub const SYSTEM_TESTS: &str = "system-tests";

/// Directories whose crates run in the parent's user space or at least on the host.
const HOST: [&str; 4] = ["mgmt", "stack", "tests", "xtask"];
/// Directories whose crates must build without an operating system below them.
const FREESTANDING: [&str; 3] = ["abi", "logic", "hv"];

/// A package of the workspace.
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its directory, relative to the workspace's root.
    pub directory: PathBuf,
    /// The names of its programs.
    pub programs: Vec<String>,
    /// Whether it has a library.
    pub is_library: bool,
}

impl Package {
    fn is_below(&self, directories: &[&str]) -> bool {
        directories.iter().any(|directory| self.directory.starts_with(directory))
    }

    /// Whether it is for the freestanding target.
    pub fn is_freestanding(&self) -> bool {
        self.is_below(&FREESTANDING)
    }

    /// Whether the host can compile and test it: all but the freestanding programs.
    pub fn is_for_host(&self) -> bool {
        self.is_below(&HOST) || (self.is_freestanding() && self.is_library)
    }

    /// Whether its programs belong into the parent.
    pub fn is_for_parent(&self) -> bool {
        self.is_below(&["mgmt", "stack"])
    }
}

/// What cargo says of the workspace.
pub struct Workspace {
    /// Its packages, by name.
    pub packages: Vec<Package>,
    /// Cargo's target directory, wherever the user put it.
    pub target: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub fn read(context: &Context) -> Result<Self> {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&context.root).args(["metadata", "--format-version=1", "--no-deps"]);
        Self::parse(&output(&mut cargo)?, &context.root)
    }

    /// Whether there is a package called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.packages.iter().any(|package| package.name == name)
    }

    fn parse(text: &str, root: &Path) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(text).context("cargo's metadata")?;
        let package = |package: RawPackage| Package {
            name: package.name,
            directory: directory(&package.manifest_path, root),
            is_library: package.targets.iter().any(|target| target.is("lib")),
            programs: package
                .targets
                .into_iter()
                .filter(|target| target.is("bin"))
                .map(|target| target.name)
                .collect(),
        };
        let mut packages: Vec<_> = metadata.packages.into_iter().map(package).collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { packages, target: metadata.target_directory })
    }
}

/// Adds a `--package` for each of `packages`.
pub fn select<'a>(cargo: &mut Command, packages: impl IntoIterator<Item = &'a Package>) {
    for package in packages {
        cargo.args(["--package", &package.name]);
    }
}

fn directory(manifest: &Path, root: &Path) -> PathBuf {
    let directory = manifest.parent().unwrap_or(manifest);
    directory.strip_prefix(root).unwrap_or(directory).to_owned()
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Target {
    fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|other| other == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_sorted_into_worlds() {
        let package = |name: &str, path: &str, kind: &str| {
            format!(
                r#"{{"name":"{name}","manifest_path":"/z/{path}/Cargo.toml","targets":[{{"name":"{name}","kind":["{kind}"]}}]}}"#
            )
        };
        let packages = [
            package("zm", "mgmt/cli", "bin"),
            package("zemin", "hv/zemin", "bin"),
            package("lapic", "logic/lapic", "lib"),
        ];
        let text = format!(r#"{{"packages":[{}],"target_directory":"/t"}}"#, packages.join(","));
        let workspace = Workspace::parse(&text, Path::new("/z")).expect("parsed");
        let names = |wanted: fn(&Package) -> bool| -> Vec<&str> {
            workspace
                .packages
                .iter()
                .filter(|package| wanted(package))
                .map(|package| package.name.as_str())
                .collect()
        };
        assert_eq!(names(Package::is_for_host), ["lapic", "zm"]);
        assert_eq!(names(Package::is_freestanding), ["lapic", "zemin"]);
        assert_eq!(names(Package::is_for_parent), ["zm"]);
    }
}
