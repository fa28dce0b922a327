//! Lists and removes what downloads left in the cache.

use engine::ModelFile;
use engine::Quantization;
use engine::source::cached::{CachedFormat, CachedModel, find, list, remove};

use super::*;

impl Setup {
    fn list(&self) -> Vec<CachedModel> {
        list(&self.options).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.list().into_iter().map(|model| model.name).collect()
    }

    fn remove(&self, name: &str) -> u64 {
        remove(&find(name, &self.options).unwrap(), &self.options).unwrap()
    }
}

#[test]
fn downloaded_models_are_listed_by_names_that_resolve() {
    let setup = setup(hub());
    assert_eq!(setup.names(), Vec::<String>::new());
    let path = setup.resolve(REPO).unwrap();
    setup.resolve(&format!("{REPO}:Q8_0")).unwrap();
    assert_eq!(setup.names(), [format!("{REPO}:Q4_K_M"), format!("{REPO}:Q8_0")]);
    let model = &setup.list()[0];
    assert_eq!(model.format, CachedFormat::Gguf(Some("Q4_K_M".to_owned())));
    assert_eq!((model.revision.as_deref(), model.commit.as_deref()), (Some("main"), Some(COMMIT)));
    assert_eq!(model.bytes(), bytes().len() as u64);
    assert!(model.last_used().unwrap().elapsed().unwrap() < Duration::from_secs(3600));
    assert_eq!(model.model_file(Quantization::FourBit), Some(ModelFile::Path(path)));
    let requests = setup.server.seen().len();
    setup.resolve(&model.name).unwrap();
    assert_eq!(setup.server.seen().len(), requests, "the name resolves from the cache");
}

#[test]
fn removing_a_model_keeps_the_others_of_its_repository() {
    let setup = setup(hub());
    setup.resolve(REPO).unwrap();
    setup.resolve(&format!("{REPO}:Q8_0")).unwrap();
    assert_eq!(setup.remove(&format!("{REPO}:q4_k_m")), bytes().len() as u64);
    assert_eq!(setup.names(), [format!("{REPO}:Q8_0")]);
    assert_eq!(setup.blobs().len(), 1);
    assert_eq!(setup.remove(REPO), 5);
    assert!(!setup.repo_folder().exists(), "nothing of the repository is left");
    let error = find(REPO, &setup.options).unwrap_err();
    assert!(matches!(error, SourceError::NotCached { .. }), "{error}");
    setup.resolve(REPO).unwrap();
}

#[test]
fn contents_that_two_revisions_share_stay_while_one_has_them() {
    let setup = setup(Hub { tag: "v1", ..hub() });
    setup.resolve(REPO).unwrap();
    // The same commit under another name, as a tag of the newest commit is.
    let folder = setup.repo_folder();
    let (main, other) = (folder.join("snapshots").join(COMMIT), folder.join("snapshots/abcd"));
    fs::create_dir(&other).unwrap();
    fs::copy(folder.join("refs/main"), folder.join("refs/old")).unwrap();
    fs::write(folder.join("refs/old"), "abcd").unwrap();
    std::os::unix::fs::symlink(fs::read_link(main.join(Q4)).unwrap(), other.join(Q4)).unwrap();
    assert_eq!(setup.names(), [format!("{REPO}:Q4_K_M"), format!("{REPO}@old:Q4_K_M")]);
    assert_eq!(setup.remove(&format!("{REPO}@old")), 0);
    assert_eq!(fs::read(main.join(Q4)).unwrap(), bytes());
    assert_eq!(setup.names(), [format!("{REPO}:Q4_K_M")]);
    assert_eq!(setup.remove(&format!("{REPO}@{COMMIT}:Q4_K_M")), bytes().len() as u64);
}

#[test]
fn partial_downloads_are_listed_and_removed_but_not_while_they_run() {
    let setup = setup(Hub { drop_after: 1000, drops: 1000, ..hub() });
    let options = SourceOptions { attempts: 1, ..setup.options.clone() };
    resolve(REPO, &options).unwrap_err();
    let models = setup.list();
    assert_eq!((models.len(), &models[0].format), (1, &CachedFormat::Incomplete));
    assert!(models[0].bytes() > 0 && models[0].model_file(Quantization::None).is_none());
    let lock = setup.cache.path().join(".locks/models--acme--tiny-GGUF");
    let lock = fs::read_dir(lock).unwrap().next().unwrap().unwrap().path();
    let held = fs::File::open(lock).unwrap();
    held.lock().unwrap();
    let error = remove(&models, &setup.options).unwrap_err();
    assert!(matches!(error, SourceError::Busy { .. }), "{error}");
    assert_eq!(setup.list(), models);
    drop(held);
    assert_eq!(setup.remove(REPO), models[0].bytes());
    assert!(!setup.repo_folder().exists());
}
