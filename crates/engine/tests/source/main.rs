//! Model files from the hub, against a local server that speaks the hub's routes.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests too

mod cached;
mod names;
mod safetensors;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::ModelFile;
use engine::source::{SourceError, SourceOptions, Token, resolve};
use server::{COMMIT, Hub, Server, sha256};
use tempfile::TempDir;

const REPO: &str = "acme/tiny-GGUF";
const Q4: &str = "tiny-Q4_K_M.gguf";

fn bytes() -> Vec<u8> {
    (0..700_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A repository with two quantizations.
fn hub() -> Hub {
    let files = [(Q4, bytes()), ("tiny-Q8_0.gguf", b"eight".to_vec()), ("README.md", vec![])];
    let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    Hub { repo: REPO, files, ..Hub::default() }
}

/// A server and an empty cache.
struct Setup {
    server: Server,
    cache: TempDir,
    options: SourceOptions,
}

fn setup(hub: Hub) -> Setup {
    let (server, cache) = (Server::start(hub), tempfile::tempdir().unwrap());
    let options = SourceOptions {
        cache_dir: Some(cache.path().to_owned()),
        endpoint: server.url.clone(),
        progress: false,
        retry_wait: Duration::from_millis(1),
        ..SourceOptions::default()
    };
    Setup { server, cache, options }
}

impl Setup {
    fn resolve(&self, name: &str) -> Result<PathBuf, SourceError> {
        match resolve(name, &self.options)? {
            ModelFile::Path(path) => Ok(path),
            other => panic!("{other:?}"),
        }
    }

    fn error(&self, name: &str) -> String {
        let error = self.resolve(name).unwrap_err();
        println!("{error}");
        error.to_string()
    }

    fn repo_folder(&self) -> PathBuf {
        self.cache.path().join("models--acme--tiny-GGUF")
    }

    /// The names of all blobs, whole or not.
    fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.repo_folder().join("blobs")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn downloads_use_the_hugging_face_cache_layout() {
    let setup = setup(hub());
    let path = setup.resolve(REPO).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes());
    assert_eq!(path, setup.repo_folder().join("snapshots").join(COMMIT).join(Q4));
    assert_eq!(setup.blobs(), [sha256(&bytes())]);
    #[cfg(unix)]
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("../../blobs").join(sha256(&bytes())));
    // As hf-hub sees it.
    let theirs = hf_hub::Cache::new(setup.cache.path().to_owned()).model(REPO.to_owned());
    assert_eq!(theirs.get(Q4), Some(path));
    assert_eq!(setup.server.ranges(), [None]);
}

#[test]
fn subfolder_files_are_linked_with_correct_relative_paths() {
    let mut hub = hub();
    hub.files.insert("BF16/tiny-BF16.gguf".into(), b"sixteen".to_vec());
    let setup = setup(hub);
    let path = setup.resolve("acme/tiny-GGUF:bf16").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"sixteen");
    assert!(path.ends_with("BF16/tiny-BF16.gguf"));
    assert_eq!(setup.resolve("acme/tiny-GGUF:BF16").unwrap(), path);
}

#[test]
fn a_cached_file_needs_no_network() {
    let mut setup = setup(hub());
    let path = setup.resolve("acme/tiny-GGUF:q4_k_m").unwrap();
    let requests = setup.server.seen().len();
    assert_eq!(setup.resolve("acme/tiny-GGUF:Q4_K_M").unwrap(), path);
    assert_eq!(setup.resolve(REPO).unwrap(), path);
    assert_eq!(setup.server.seen().len(), requests);

    setup.options.endpoint = nobody();
    assert_eq!(setup.resolve(REPO).unwrap(), path);
    setup.options.offline = true;
    assert_eq!(setup.resolve(REPO).unwrap(), path);
    assert!(setup.error("acme/tiny-GGUF:Q8_0").contains("HF_HUB_OFFLINE"));
}

#[test]
fn offline_resolution_uses_the_only_cached_file() {
    let mut setup = setup(hub());
    let path = setup.resolve("acme/tiny-GGUF:Q8_0").unwrap();
    setup.options.endpoint = nobody();
    assert_eq!(setup.resolve(REPO).unwrap(), path);
}

#[test]
fn dropped_downloads_resume_at_the_last_byte() {
    let setup = setup(Hub { drop_after: 100_000, drops: 3, ..hub() });
    let path = setup.resolve(REPO).unwrap();
    assert_eq!(fs::read(path).unwrap(), bytes());
    let ranges = setup.server.ranges();
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    let from = |range: &Option<String>| -> usize {
        range.as_ref().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    };
    assert_eq!(ranges[0], None);
    let starts: Vec<usize> = ranges[1..].iter().map(from).collect();
    assert!(starts.is_sorted() && starts[0] > 0 && starts[2] <= 300_000, "{starts:?}");
}

#[test]
fn partial_downloads_of_an_earlier_process_resume() {
    let setup = setup(Hub { drop_after: 50_000, drops: 1_000, ..hub() });
    let mut given_up = setup.options.clone();
    given_up.attempts = 1;
    let error = resolve(REPO, &given_up).unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    let partial = setup.blobs();
    assert_eq!(partial, [format!("{}.part", sha256(&bytes()))]);
    assert!(!setup.repo_folder().join("snapshots").exists());

    setup.server.change(|hub| hub.drops = 0);
    assert_eq!(fs::read(setup.resolve(REPO).unwrap()).unwrap(), bytes());
    assert!(setup.server.ranges().last().unwrap().is_some());
    assert_eq!(setup.blobs(), [sha256(&bytes())]);
}

#[test]
fn downloads_restart_if_the_server_ignores_ranges() {
    let setup = setup(Hub { drop_after: 60_000, drops: 2, no_ranges: true, ..hub() });
    assert_eq!(fs::read(setup.resolve(REPO).unwrap()).unwrap(), bytes());
}

#[test]
fn downloads_without_progress_fail_after_the_last_attempt() {
    let setup = setup(Hub { drop_after: 0, drops: 1_000, ..hub() });
    let error = setup.error(REPO);
    assert!(error.contains(Q4) && error.contains("broke off"), "{error}");
    assert_eq!(setup.server.ranges().len(), setup.options.attempts as usize);
}

#[test]
fn a_wrong_checksum_deletes_the_download() {
    let wrong = sha256(b"another file");
    let setup = setup(Hub { wrong_hash: Some(wrong.clone()), ..hub() });
    let error = setup.error(REPO);
    assert!(error.contains(&wrong) && error.contains(&sha256(&bytes())), "{error}");
    assert!(error.contains("was deleted"), "{error}");
    assert_eq!(setup.blobs(), Vec::<String>::new());
    assert!(!setup.repo_folder().join("snapshots").exists());

    setup.server.change(|hub| hub.wrong_hash = None);
    assert_eq!(fs::read(setup.resolve(REPO).unwrap()).unwrap(), bytes());
}

#[test]
fn damaged_partial_downloads_fail_the_checksum_and_are_refetched() {
    let setup = setup(hub());
    let blobs = setup.repo_folder().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("{}.part", sha256(&bytes()))), b"not its beginning").unwrap();
    assert!(matches!(setup.resolve(REPO), Err(SourceError::Damaged { what: "its SHA-256", .. })));
    assert_eq!(fs::read(setup.resolve(REPO).unwrap()).unwrap(), bytes());
}

#[test]
fn downloads_longer_than_announced_are_refused() {
    let setup = setup(Hub { too_long: true, ..hub() });
    assert!(matches!(setup.resolve(REPO), Err(SourceError::Damaged { what: "its size", .. })));
    assert_eq!(setup.blobs(), Vec::<String>::new());
}

#[test]
fn requests_to_an_unavailable_hub_are_retried() {
    let setup = setup(Hub { unavailable: 2, ..hub() });
    assert!(setup.resolve(REPO).is_ok());
    setup.server.change(|hub| hub.unavailable = 100);
    let error = setup.error("acme/tiny-GGUF:Q8_0");
    assert!(error.contains("503"), "{error}");
}

#[test]
fn unknown_quantizations_are_refused_with_the_available_ones() {
    let mut repo = hub();
    repo.files.remove(Q4);
    repo.files.insert("tiny-Q5_0.gguf".into(), vec![]);
    let big = "big-F16-00001-of-00002.gguf";
    repo.files.insert(big.into(), vec![]);
    let setup = setup(repo);
    let error = setup.error("acme/tiny-GGUF:Q2_K");
    assert!(error.contains("no Q2_K; it has F16, Q5_0, Q8_0"), "{error}");
    let error = setup.error(REPO);
    assert!(error.contains("acme/tiny-GGUF:F16: F16, Q5_0, Q8_0"), "{error}");
    let error = setup.error("acme/tiny-GGUF:f16");
    assert!(error.contains("one of 2 parts") && error.contains(big), "{error}");

    setup.server.change(|hub| {
        hub.files.clear();
        hub.files.insert("model.safetensors".into(), vec![]);
    });
    let error = setup.error(REPO);
    assert!(error.contains("no tokenizer.json") && error.contains("GGUF files"), "{error}");
    setup.server.change(|hub| {
        hub.files.clear();
        hub.files.insert("pytorch_model.bin".into(), vec![]);
    });
    let error = setup.error(REPO);
    assert!(error.contains("neither a GGUF file nor safetensors"), "{error}");
}

#[test]
fn missing_repositories_are_refused_by_name() {
    let setup = setup(hub());
    let error = setup.error("acme/nothing");
    assert!(error.contains("there is no model acme/nothing"), "{error}");
}

#[test]
fn gated_repositories_need_a_token_that_errors_never_show() {
    let mut setup = setup(Hub { token: Some("hf_right"), ..hub() });
    let error = setup.error(REPO);
    assert!(error.contains("HF_TOKEN") && error.contains("401"), "{error}");
    setup.options.token = Token::new("hf_wrong");
    let error = setup.error(REPO);
    assert!(error.contains("HF_TOKEN") && !error.contains("hf_wrong"), "{error}");

    setup.options.token = Token::new("hf_right");
    assert!(setup.resolve(REPO).is_ok());
}

#[test]
fn the_token_is_sent_to_the_hub_only() {
    let cdn = Server::start(hub());
    let setup = {
        let mut setup = setup(Hub { token: Some("hf_right"), cdn: cdn.url.clone(), ..hub() });
        setup.options.token = Token::new("hf_right");
        setup
    };
    assert_eq!(fs::read(setup.resolve(REPO).unwrap()).unwrap(), bytes());
    assert!(setup.server.seen().iter().all(|seen| seen.authorization.is_some()));
    let at_cdn = cdn.seen();
    assert_eq!(at_cdn.len(), 1, "{at_cdn:?}");
    assert_eq!(at_cdn[0].authorization, None);
}

#[test]
fn unreachable_hub_errors_explain_the_manual_download() {
    let mut setup = setup(hub());
    setup.options.endpoint = nobody();
    let error = setup.error("acme/tiny-GGUF:Q4_K_M");
    let by_hand = setup.repo_folder().join("snapshots/manual");
    for part in [
        "the Q4_K_M file of acme/tiny-GGUF",
        by_hand.to_str().unwrap(),
        "MODEL_NAME",
        &format!("{}/acme/tiny-GGUF/tree/main", setup.options.endpoint),
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    // As it says: a file put there is found.
    fs::create_dir_all(&by_hand).unwrap();
    fs::write(by_hand.join(Q4), b"by hand").unwrap();
    assert_eq!(setup.resolve("acme/tiny-GGUF:Q4_K_M").unwrap(), by_hand.join(Q4));
}

#[test]
fn hub_file_names_cannot_escape_the_cache() {
    let mut repo = hub();
    repo.files.clear();
    repo.files.insert("../../../evil-Q4_K_M.gguf".into(), b"evil".to_vec());
    let setup = setup(repo);
    assert!(matches!(
        setup.resolve(REPO),
        Err(SourceError::Protocol { .. } | SourceError::NotFound { .. })
    ));
    setup.server.change(|repo| {
        *repo = hub();
        repo.wrong_hash = Some("../../../evil".into());
    });
    let error = setup.error(REPO);
    assert!(error.contains("the etag \"../../../evil\""), "{error}");
}

#[test]
fn unwritable_caches_are_reported() {
    let mut setup = setup(hub());
    let file = setup.cache.path().join("a-file");
    fs::write(&file, "").unwrap();
    setup.options.cache_dir = Some(file);
    assert!(setup.error(REPO).contains("cannot write to the model cache"));
    setup.options.cache_dir = None;
    assert!(setup.error(REPO).contains("HF_HOME"));
}

#[test]
fn concurrent_downloads_fetch_the_bytes_once() {
    let setup = setup(hub());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(fs::read(setup.resolve(REPO).unwrap()).unwrap(), bytes()));
        }
    });
    assert_eq!(setup.server.ranges().len(), 1);
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
