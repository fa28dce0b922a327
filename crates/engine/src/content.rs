//! The identity of a model: the hashes of the contents of its files. Models with the same hash have the same weights,
//! tokenizer and chat template, whatever their names and folders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::files::FileFingerprint;
use crate::runner::projector_beside;
use crate::source::choose::all_part_names;
use crate::{EngineOptions, ModelFile};

/// A SHA-256.
pub type Hash = [u8; 32];

/// The extensions of files in a folder of safetensors that are part of the model.
const EXTENSIONS: [&str; 5] = ["safetensors", "json", "jinja", "txt", "model"];
/// The size of reads.
const BUFFER: usize = 1 << 20;

/// The files of a model, of its projector and of its adapters, as they were when this was created.
#[derive(Debug)]
pub struct ContentFiles {
    embedded: Option<&'static [u8]>,
    base: Vec<NotedFile>,
    adapters: BTreeMap<String, Vec<NotedFile>>,
}

/// The hashes of a model and its adapters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentHashes {
    /// Of the model and its projector.
    pub base: Hash,
    /// Of each adapter, by its name.
    pub adapters: BTreeMap<String, Hash>,
}

#[derive(Debug)]
struct NotedFile {
    path: PathBuf,
    noted: FileFingerprint,
}

impl ContentFiles {
    /// Finds the files that [`Engine::start`](crate::Engine::start) reads, and notes their sizes and times of
    /// modification. Call it before the engine opens them.
    ///
    /// # Errors
    /// If a file or a folder cannot be read.
    pub fn of(model: &ModelFile, options: &EngineOptions) -> io::Result<Self> {
        let (mut paths, mut embedded, mut projector) = (Vec::new(), None, None);
        match model {
            ModelFile::Embedded { bytes, .. } => embedded = Some(*bytes),
            ModelFile::Path(path) => {
                paths = parts(path);
                projector = options.projector.is_none().then(|| projector_beside(path)).flatten();
            }
            ModelFile::Safetensors { folder, .. } => paths = in_folder(folder)?,
        }
        for path in options.projector.iter().chain(&projector) {
            paths.extend(if path.is_dir() { in_folder(path)? } else { vec![path.clone()] });
        }
        let adapters = options.adapters.iter().map(|adapter| {
            let files = in_folder(&adapter.folder)?;
            Ok((adapter.name.clone(), noted(files)?))
        });
        Ok(Self { embedded, base: noted(paths)?, adapters: adapters.collect::<io::Result<_>>()? })
    }

    /// Reads and hashes all files. A file in the cache of the hub that is named by its own SHA-256 is not read. Blocks:
    /// a second takes about a gigabyte.
    ///
    /// # Errors
    /// If a file cannot be read, or was changed since [`Self::of`].
    pub fn hash(&self) -> io::Result<ContentHashes> {
        let base = hash(self.embedded.unwrap_or_default(), &self.base)?;
        let adapters =
            self.adapters.iter().map(|(name, files)| Ok((name.clone(), hash(&[], files)?)));
        Ok(ContentHashes { base, adapters: adapters.collect::<io::Result<_>>()? })
    }
}

fn noted(paths: Vec<PathBuf>) -> io::Result<Vec<NotedFile>> {
    let note = |path: PathBuf| {
        let noted = FileFingerprint::of(&fs::metadata(&path)?);
        Ok(NotedFile { path, noted })
    };
    paths.into_iter().map(note).collect()
}

/// Returns the files of a GGUF model: itself, or all parts of a split one, in order.
fn parts(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return vec![path.to_owned()];
    };
    let named = all_part_names(name).into_iter().map(|part| path.with_file_name(part));
    // A whole file may be named like a part.
    named.filter(|part| part == path || part.is_file()).collect()
}

/// Returns the files of a model in its folder, in order.
fn in_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        if EXTENSIONS.contains(&&*extension) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Hashes the hashes of the contents. In a folder the names matter too.
fn hash(bytes: &[u8], files: &[NotedFile]) -> io::Result<Hash> {
    let mut all = Sha256::new();
    all.update(Sha256::digest(bytes));
    for file in files {
        let content = match hash_in_name(&file.path) {
            Some(known) => known,
            None => hash_of(&file.path)?,
        };
        if FileFingerprint::of(&fs::metadata(&file.path)?) != file.noted {
            let problem = format!("{} was changed after it was loaded", file.path.display());
            return Err(io::Error::other(problem));
        }
        if files.len() > 1 {
            let name = file.path.file_name().unwrap_or_default();
            all.update(Sha256::digest(name.as_encoded_bytes()));
        }
        all.update(content);
    }
    Ok(all.finalize().into())
}

/// Returns the SHA-256 that is the name of a large file in the cache of the hub, whose download was checked.
fn hash_in_name(path: &Path) -> Option<Hash> {
    let target = fs::canonicalize(path).ok()?;
    let folder = target.parent()?.file_name()?;
    let name = target.file_name()?.to_str()?;
    if folder != "blobs" || name.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(name.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}

fn hash_of(path: &Path) -> io::Result<Hash> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&buffer[..read]),
        }
    }
}
