//! Tasks that a skill has written: their answers are read, and drawn on their images.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use chat::{Message, Part, Role};
use engine::vision::{ImageLimits, decode};
use futures::TryStreamExt;
use protocol::{
    BlobId, Outcome, Prompt, SkillAnswer, SkillOutput, SkillUse, Task, TaskState, TenantId,
};
use queue::{BlobLimits, BlobStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::library::{PIXELS, asking, picture, seeing, store};
use crate::rig::Rig;
use crate::videos::gif;

const TENANT: &str = "tenant";

/// Writes a command that the shell runs.
fn command(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Starts a worker whose model sees and whose commands are in the folder.
async fn start(settings: &[(&str, &str)]) -> (Rig, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (model, projector) = seeing("qwen3vl");
    let mut all = vec![
        ("MMPROJ", projector.to_str().unwrap()),
        ("SKILL_COMMANDS", folder.path().to_str().unwrap()),
    ];
    all.extend(settings);
    (Rig::start_with(model, &all).await, folder)
}

fn skill(command: Option<&str>) -> SkillUse {
    SkillUse {
        name: "mine".into(),
        output: SkillOutput::Boxes,
        scale: SkillUse::SCALE,
        actions: vec![],
        draw: true,
        command: command.map(str::to_owned),
    }
}

fn task(rig: &Rig, prompt: Prompt, command: Option<&str>) -> Task {
    Task { pixels: PIXELS, skill: Some(skill(command)), ..rig.task(prompt, 8) }
}

async fn answer(rig: &Rig, task: &Task) -> SkillAnswer {
    let completion = rig.complete(task).await;
    assert!(completion.usage.completion_tokens > 0);
    completion.skill.unwrap()
}

/// Returns the pixels of an annotated image: width, height and RGB.
async fn annotated(rig: &Rig, id: BlobId) -> (u32, u32, Vec<u8>) {
    let blobs = BlobStore::new(rig.broker.clone(), BlobLimits::default());
    let found = blobs.find(&TenantId::new(TENANT), id).await.unwrap().unwrap();
    assert_eq!((&*found.blob.purpose, &*found.blob.media_type), ("annotated", "image/png"));
    let kept = found.blob.expires_at.seconds_since(found.blob.created_at);
    assert!((119.0..=121.0).contains(&kept), "as long as the result: {kept}");
    let bytes: Vec<u8> = found.read().try_collect::<Vec<_>>().await.unwrap().concat();
    let image = decode(&bytes, &ImageLimits::default()).unwrap();
    (image.width, image.height, image.rgb)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_reads_the_answer_and_its_marks_are_drawn() {
    let (rig, folder) = start(&[]).await;
    let (wide, turned) = (picture("wide.png"), picture("photo-turned-8.jpg"));
    let blobs =
        [store(&rig.broker, TENANT, &wide).await, store(&rig.broker, TENANT, &turned).await];
    let told = folder.path().join("told");
    let reply = json!({
        "structured": {"found": 2}, "warnings": ["odd"],
        "marks": [
            {"image": 1, "box": [5, 20, 35, 60], "label": "a"},
            {"image": 1, "point": [20, 40], "label": "b"},
        ],
    });
    let script = format!("cat >{}\ncat <<'END'\n{reply}\nEND", told.display());
    command(folder.path(), "reader", &script);
    let prompt = Prompt::Chat(vec![asking("|What?|", &[&blobs[0], &blobs[1]])]);
    let task = task(&rig, prompt, Some("reader"));
    let text = rig.complete(&Task { skill: None, ..task.clone() }).await.first.text;
    let task = Task { id: protocol::TaskId::new(), ..task };
    let answer = answer(&rig, &task).await;
    assert_eq!(answer.structured, Some(json!({"found": 2})));
    assert_eq!(answer.warnings, ["odd"]);
    // The image without marks is not drawn on.
    let [id] = answer.annotated_images[..] else { panic!("{answer:?}") };
    let (width, height, rgb) = annotated(&rig, id).await;
    let original = decode(&turned, &ImageLimits::default()).unwrap();
    let factor = 480 / original.width.max(original.height);
    assert_eq!((width, height), (original.width * factor, original.height * factor));
    let at = |x: u32, y: u32| {
        let start = ((y * factor) * width + x * factor) as usize * 3;
        <[u8; 3]>::try_from(&rgb[start..start + 3]).unwrap()
    };
    let (first, second) = (at(5, 40), at(20, 40));
    for (x, y) in [(35, 30), (30, 20), (20, 60)] {
        assert!(at(x, y).iter().zip(first).all(|(a, b)| a.abs_diff(b) < 30), "{x} {y}");
    }
    assert!(first != second && first[0] > 200 && second[2] > 150, "{first:?} {second:?}");
    // The command was told the text, and the sizes as they are sent and as they are seen.
    let told: Value = serde_json::from_str(&fs::read_to_string(told).unwrap()).unwrap();
    assert_eq!((&told["text"], &told["family"]), (&json!(text), &json!("qwen3-vl")));
    let sizes: Vec<(u64, u64)> = ["", "seen_"]
        .iter()
        .flat_map(|prefix| [0, 1].map(|image| (*prefix, image)))
        .map(|(prefix, image)| {
            let side = |side: &str| told["images"][image][format!("{prefix}{side}")].as_u64();
            (side("width").unwrap(), side("height").unwrap())
        })
        .collect();
    assert_eq!(sizes[..2], [(131, 37), (original.width.into(), original.height.into())]);
    for (width, height) in &sizes[2..] {
        assert!(width % 8 == 0 && height % 8 == 0 && width * height <= 12 * 64, "{sizes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_the_task_completes() {
    let (rig, folder) = start(&[]).await;
    let image = store(&rig.broker, TENANT, &picture("wide.png")).await;
    let prompt = || Prompt::Chat(vec![asking("|What?", &[&image])]);
    let built_in = answer(&rig, &task(&rig, prompt(), None)).await;
    // What random weights write can't be read.
    assert_eq!((&*built_in.name, &built_in.annotated_images), ("mine", &vec![]));
    assert!(built_in.structured.is_some() || !built_in.warnings.is_empty(), "{built_in:?}");
    command(folder.path(), "crash", "echo '{\"structured\": 1}'; exit 7");
    for (name, problem) in [
        ("crash", "the command 'crash' did not read the answer: it ended with the exit code 7"),
        ("gone", "the command 'gone' did not read the answer: there is no such command"),
    ] {
        let answer = answer(&rig, &task(&rig, prompt(), Some(name))).await;
        assert_eq!(answer.structured, built_in.structured);
        assert_eq!(answer.warnings[0], problem);
        assert_eq!(answer.warnings[1..], built_in.warnings);
    }
    // An image that is deleted before it is drawn on, and a video.
    let began = folder.path().join("began");
    let marks = r#"echo '{"marks": [{"image": 0, "point": [1, 1]}]}'"#;
    let script =
        format!("touch {0}; while [ -e {0} ]; do sleep 0.02; done; {marks}", began.display());
    command(folder.path(), "slow", &script);
    let id = rig.submit(&task(&rig, prompt(), Some("slow"))).await;
    while !began.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let blobs = BlobStore::new(rig.broker.clone(), BlobLimits::default());
    assert!(blobs.delete(&TenantId::new(TENANT), image.parse().unwrap()).await.unwrap());
    fs::remove_file(began).unwrap();
    let Outcome::Completed(completion) = rig.outcome(id).await else { panic!("not completed") };
    let warnings = completion.skill.unwrap().warnings;
    let expected = format!("image 1: it can't be drawn on: the blob {image} does not exist");
    assert!(warnings.len() == 1 && warnings[0].starts_with(&expected), "{warnings:?}");

    command(folder.path(), "marks", marks);
    let video = Part::Video { blob: store(&rig.broker, TENANT, &gif("0123")).await };
    let message = Message { role: Role::User, parts: vec![video], name: None };
    let task = task(&rig, Prompt::Chat(vec![message]), Some("marks"));
    let answer = answer(&rig, &task).await;
    assert_eq!(answer.warnings, ["video 1: marks are not drawn on videos"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_at_once_while_its_answer_is_read() {
    let (rig, folder) = start(&[("LEASE_SECONDS", "2"), ("DRAIN_SECONDS", "0")]).await;
    let image = store(&rig.broker, TENANT, &picture("wide.png")).await;
    let pids = folder.path().join("pids");
    let script = format!("echo $$ >>{}; exec sleep 1000", pids.display());
    command(folder.path(), "hang", &script);
    let prompt = Prompt::Chat(vec![asking("|What?", &[&image])]);
    let hanging = async |limit_s: u32, count: usize| {
        let task = task(&rig, prompt.clone(), Some("hang"));
        let id = rig.submit(&Task { time_limit_s: limit_s, max_attempts: 3, ..task }).await;
        let running = || fs::read_to_string(&pids).unwrap_or_default().lines().count();
        while running() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        id
    };
    // All text is published before.
    let cancelled = hanging(60, 1).await;
    rig.wait_for_text(cancelled).await;
    let began = Instant::now();
    rig.broker.cancel(cancelled).await.unwrap();
    let Outcome::Cancelled { usage } = rig.outcome(cancelled).await else { panic!("completed") };
    assert!(usage.completion_tokens > 0);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    // The time limit ends the reading only.
    let late = hanging(3, 2).await;
    let Outcome::Completed(completion) = rig.outcome(late).await else { panic!("not completed") };
    let warnings = completion.skill.unwrap().warnings;
    assert_eq!(warnings, ["the time limit of 3 s ended before the answer was read and drawn"]);

    let held = hanging(60, 3).await;
    rig.stop();
    let until = Instant::now() + Duration::from_secs(5);
    while rig.broker.snapshot(held).await.unwrap().unwrap().state != TaskState::Queued {
        assert!(Instant::now() < until, "the worker does not give the task back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // No command is left.
    for pid in fs::read_to_string(&pids).unwrap().lines() {
        let stat = Path::new("/proc").join(pid).join("stat");
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < until, "the command {pid} is not killed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
