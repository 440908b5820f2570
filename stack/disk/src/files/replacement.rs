//! A file that is written under another name and takes its own when it is complete.

use crate::error::{Error, Result};
use crate::file_storage::FileStorage;
use crate::storage::{Storage, StorageExt};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The new file; removed when dropped before [`Replacement::finish`].
#[derive(Debug)]
pub(super) struct Replacement {
    target: PathBuf,
    temporary: PathBuf,
    storage: Arc<FileStorage>,
    finished: bool,
}

impl Replacement {
    /// Starts a file beside `target`, over what an earlier attempt may have left.
    pub fn new(target: &Path) -> Result<Self> {
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".zm-new");
        let temporary = target.with_file_name(name);
        let fail = |error| Error::io("creating")(error).in_file(&temporary);
        if temporary.exists() {
            // Locked: somebody else is at it. Otherwise nobody needs it any more.
            FileStorage::open(&temporary, false).map_err(fail)?;
            fs::remove_file(&temporary).map_err(fail)?;
        }
        let storage = Arc::new(FileStorage::create(&temporary).map_err(fail)?);
        Ok(Self { target: target.to_owned(), temporary, storage, finished: false })
    }

    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage) as Arc<dyn Storage>
    }

    /// Flushes the file and gives it its name.
    ///
    /// # Errors
    /// When there is a file of that name and `overwrite` is not said; that file is as it was.
    pub fn finish(mut self, overwrite: bool) -> Result<()> {
        (&*self.storage as &dyn Storage).sync()?;
        if overwrite && let Ok(old) = fs::metadata(&self.target) {
            let kept = fs::set_permissions(&self.temporary, old.permissions());
            kept.map_err(Error::io("setting permissions"))?;
        }
        self.rename(overwrite).map_err(|error| error.in_file(&self.target))?;
        self.finished = true;
        let directory = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(directory.unwrap_or(Path::new(".")));
        let synced = directory.and_then(|directory| directory.sync_all());
        synced.map_err(Error::io("flushing the directory"))
    }

    fn rename(&self, overwrite: bool) -> Result<()> {
        let named =
            |result: std::io::Result<()>| result.map_err(Error::io("giving the file its name"));
        if overwrite {
            return named(fs::rename(&self.temporary, &self.target));
        }
        match renameat_with(CWD, &self.temporary, CWD, &self.target, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) if !self.target.exists() => {
                named(fs::rename(&self.temporary, &self.target))
            }
            other => named(other.map_err(Into::into)),
        }
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
