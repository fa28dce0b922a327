use std::fs;
use std::path::Path;

use skills::{Change, Skills};

use crate::GREETING;

fn write(folder: &Path, name: &str, text: &str) {
    // Renamed, as editors and Kubernetes do, so that no half file is read.
    let hidden = folder.join(format!(".{name}"));
    fs::write(&hidden, text).unwrap();
    fs::rename(hidden, folder.join(name)).unwrap();
}

#[test]
fn a_skill_is_dropped_in_broken_mended_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let skills = Skills::new(Some(folder.path().to_owned()));
    assert_eq!(skills.refresh(), []);
    assert!(skills.find("greeting").is_none());

    let file = folder.path().join("greeting.toml");
    write(folder.path(), "greeting.toml", GREETING);
    let loaded = Change::Loaded { name: "greeting".into(), file: file.clone() };
    assert_eq!(skills.refresh(), std::slice::from_ref(&loaded));
    assert_eq!(skills.find("greeting").unwrap().title, "Greet");
    assert_eq!(skills.refresh(), [], "nothing has changed");

    write(folder.path(), "greeting.toml", &GREETING.replace("{{ who }}", "{{ whom }} !"));
    let changes = skills.refresh();
    let [Change::Refused { reason, kept, .. }] = &*changes else { panic!("{changes:?}") };
    assert!(reason.starts_with("line 11: prompt.user: undefined value"), "{reason}");
    assert_eq!(kept.as_deref(), Some("greeting"));
    assert_eq!(skills.find("greeting").unwrap().title, "Greet", "the version before stays");
    assert_eq!(skills.refresh(), [], "it is said once");

    write(folder.path(), "greeting.toml", &GREETING.replace("\"Greet\"", "\"Greet politely\""));
    assert_eq!(skills.refresh(), [loaded]);
    assert_eq!(skills.find("greeting").unwrap().title, "Greet politely");

    fs::remove_file(&file).unwrap();
    assert_eq!(skills.refresh(), [Change::Removed { name: "greeting".into() }]);
    assert!(skills.find("greeting").is_none());
}

#[test]
fn a_file_takes_the_place_of_a_built_in_skill_as_long_as_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let skills = Skills::new(Some(folder.path().to_owned()));
    let title = || skills.find("describe").unwrap().title.clone();
    let before = title();
    write(folder.path(), "mine.toml", &GREETING.replace("\"greeting\"", "\"describe\""));
    skills.refresh();
    assert_eq!(title(), "Greet");
    fs::remove_file(folder.path().join("mine.toml")).unwrap();
    assert_eq!(skills.refresh(), []);
    assert_eq!(title(), before);
}

#[test]
fn what_can_not_be_used_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let skills = Skills::new(Some(folder.path().to_owned()));
    write(folder.path(), "a.toml", GREETING);
    write(folder.path(), "b.toml", GREETING);
    write(folder.path(), "notes.txt", "no skill");
    fs::write(folder.path().join("c.toml"), b"name = \"c\"\n# \xff").unwrap();
    let changes = skills.refresh();
    let reasons: Vec<&str> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Refused { reason, kept: None, .. } => Some(reason.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(changes.len(), 3);
    assert!(reasons[0].contains("is in") && reasons[0].contains("a.toml already"), "{reasons:?}");
    assert_eq!(reasons[1], "line 2: is not UTF-8");

    let gone = folder.path().to_owned();
    drop(folder);
    let changes = skills.refresh();
    assert!(
        matches!(&*changes, [Change::Unreadable { reason }] if reason.contains(&*gone.to_string_lossy()))
    );
    assert_eq!(skills.refresh(), []);
    assert!(skills.find("greeting").is_some(), "what was read stays in use");
}
