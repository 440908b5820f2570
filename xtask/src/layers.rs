//! Puts a root file system together from layers: a base archive, and files laid over it.
//!
//! Later layers replace files of earlier ones. The result is a tar stream for `mke2fs -d`, so that
//! ownership is right although no step needs root.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::cache::Key;
use anyhow::{Context as _, Result, bail};
use tar::{Archive, Builder, EntryType, Header};

/// What a path in a layer is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Node {
    File { content: Vec<u8>, mode: u32 },
    Link(PathBuf),
    Directory,
}

/// The files to lay over a base, all owned by root.
#[derive(Default)]
pub struct Layers {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Layers {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one file.
    pub fn file(&mut self, path: impl Into<PathBuf>, content: Vec<u8>, mode: u32) {
        self.nodes.insert(path.into(), Node::File { content, mode });
    }

    /// Adds a copy of the host's file `from`: executable if it is.
    pub fn copy(&mut self, path: impl Into<PathBuf>, from: &Path) -> Result<()> {
        let content =
            std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        let executable = std::fs::metadata(from)?.permissions().mode() & 0o100 != 0;
        self.file(path, content, if executable { 0o755 } else { 0o644 });
        Ok(())
    }

    /// Adds the tree under `from` at `path`.
    pub fn tree(&mut self, path: &Path, from: &Path) -> Result<()> {
        for found in
            std::fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?
        {
            let found = found?;
            let (inside, kind) = (path.join(found.file_name()), found.file_type()?);
            if kind.is_symlink() {
                self.nodes.insert(inside, Node::Link(std::fs::read_link(found.path())?));
            } else if kind.is_dir() {
                self.nodes.insert(inside.clone(), Node::Directory);
                self.tree(&inside, &found.path())?;
            } else {
                self.copy(inside, &found.path())?;
            }
        }
        Ok(())
    }

    /// Adds all of it to a cache key.
    pub fn key(&self, key: Key) -> Key {
        self.nodes.iter().fold(key, |key, (path, node)| {
            let key = key.text(&path.to_string_lossy());
            match node {
                Node::File { content, mode } => key.text(&format!("{mode:o}")).bytes(content),
                Node::Link(target) => key.text(&target.to_string_lossy()),
                Node::Directory => key,
            }
        })
    }

    /// Writes `base` with these files over it.
    pub fn write(&self, base: impl Read, out: impl Write) -> Result<()> {
        let mut builder = Builder::new(out);
        let mut directories: BTreeMap<PathBuf, ()> = BTreeMap::new();
        let mut archive = Archive::new(base);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = normal(&entry.path()?);
            if entry.header().entry_type() == EntryType::Directory {
                directories.insert(path.clone(), ());
            }
            if !self.replaces(&path) {
                pass(&mut builder, &mut entry)?;
            }
        }
        for (path, node) in &self.nodes {
            self.add_parents(&mut builder, path, &mut directories)?;
            self.add(&mut builder, path, node, &mut directories)?;
        }
        Ok(builder.into_inner()?.flush()?)
    }

    fn replaces(&self, path: &Path) -> bool {
        self.nodes.get(path).is_some_and(|node| *node != Node::Directory)
    }

    fn add_parents<W: Write>(
        &self,
        builder: &mut Builder<W>,
        path: &Path,
        directories: &mut BTreeMap<PathBuf, ()>,
    ) -> Result<()> {
        let mut parents: Vec<_> =
            path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect();
        parents.reverse();
        parents
            .into_iter()
            .try_for_each(|parent| self.add(builder, parent, &Node::Directory, directories))
    }

    fn add<W: Write>(
        &self,
        builder: &mut Builder<W>,
        path: &Path,
        node: &Node,
        directories: &mut BTreeMap<PathBuf, ()>,
    ) -> Result<()> {
        match node {
            Node::File { content, mode } => {
                builder.append_data(
                    &mut header(EntryType::Regular, *mode, content.len()),
                    path,
                    content.as_slice(),
                )?;
            }
            Node::Link(target) => {
                builder.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?
            }
            Node::Directory if directories.insert(path.to_owned(), ()).is_none() => {
                builder.append_data(
                    &mut header(EntryType::Directory, 0o755, 0),
                    path,
                    std::io::empty(),
                )?;
            }
            Node::Directory => {}
        }
        Ok(())
    }
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header
}

/// Copies an entry unchanged, with its extended attributes.
fn pass<R: Read, W: Write>(builder: &mut Builder<W>, entry: &mut tar::Entry<'_, R>) -> Result<()> {
    let mut extensions = Vec::new();
    if let Some(found) = entry.pax_extensions()? {
        for extension in found {
            let extension = extension?;
            extensions.push((extension.key()?.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    let extensions = extensions.iter().filter(|(key, _)| key.starts_with("SCHILY.xattr."));
    builder
        .append_pax_extensions(extensions.map(|(key, value)| (key.as_str(), value.as_slice())))?;
    let mut header = entry.header().clone();
    let path = entry.path()?.into_owned();
    match (header.entry_type(), entry.link_name()?.map(|name| name.into_owned())) {
        (EntryType::Symlink | EntryType::Link, Some(target)) => {
            builder.append_link(&mut header, path, target)?
        }
        (EntryType::Symlink | EntryType::Link, None) => {
            bail!("{} links to nothing", path.display())
        }
        _ => builder.append_data(&mut header, path, entry)?,
    }
    Ok(())
}

/// `./usr/bin/` and `usr/bin` are one.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        let mut add = |kind, path: &str, content: &[u8]| {
            let mut header = header(kind, 0o755, content.len());
            builder.append_data(&mut header, path, content).expect("added");
        };
        add(EntryType::Directory, "./etc/", b"");
        add(EntryType::Regular, "./etc/hostname", b"old");
        add(EntryType::Regular, "./etc/motd", b"hello");
        builder.into_inner().expect("finished")
    }

    fn read(archive: &[u8]) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        for entry in Archive::new(archive).entries().expect("readable") {
            let mut entry = entry.expect("readable");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            found.push((normal(&entry.path().expect("a path")), text));
        }
        found
    }

    #[test]
    fn later_layer_replaces_files_and_keeps_the_rest() {
        let mut layers = Layers::new();
        layers.file("etc/hostname", b"new".to_vec(), 0o644);
        layers.file("usr/lib/zemin/x", b"x".to_vec(), 0o755);
        let mut out = Vec::new();
        layers.write(base().as_slice(), &mut out).expect("written");
        let found = read(&out);
        let text = |path: &'static str| {
            let named = found.iter().filter(move |(name, _)| name == Path::new(path));
            named.map(|(_, text)| text.as_str())
        };
        assert_eq!(text("etc/hostname").collect::<Vec<_>>(), ["new"]);
        assert_eq!(text("etc/motd").collect::<Vec<_>>(), ["hello"]);
        assert_eq!(text("etc").count(), 1);
        assert_eq!(text("usr/lib").count(), 1);
        assert_eq!(text("usr/lib/zemin/x").collect::<Vec<_>>(), ["x"]);
    }
}
