//! The file that an output goes to.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::text::printable;

/// A file that appears under its name when it is complete. What is no file, such as a named pipe, is written to directly.
pub(super) enum Target {
    New { file: File, temporary: NamedTempFile, path: PathBuf },
    Direct(File),
}

impl Target {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let create = || -> io::Result<Self> {
            if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
                return Ok(Self::Direct(File::options().write(true).open(path)?));
            }
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            // As for any new file: the process's umask decides.
            let permissions = Permissions::from_mode(0o666);
            let temporary = tempfile::Builder::new()
                .permissions(permissions)
                .tempfile_in(folder.unwrap_or(Path::new(".")))?;
            let file = temporary.reopen()?;
            Ok(Self::New { file, temporary, path: path.to_path_buf() })
        };
        create().with_context(|| unwritable(path))
    }

    pub(super) fn file(&self) -> Result<File> {
        let (Self::New { file, .. } | Self::Direct(file)) = self;
        Ok(file.try_clone()?)
    }

    pub(super) fn keep(self) -> Result<()> {
        if let Self::New { temporary, path, .. } = self {
            temporary
                .persist(&path)
                .map_err(|error| error.error)
                .with_context(|| unwritable(&path))?;
        }
        Ok(())
    }
}

pub(super) fn unwritable(path: &Path) -> String {
    format!("{} can't be written", printable(&path.display().to_string()))
}
