//! Runs real scripts.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::SkillOutput;
use serde_json::{Value, json};
use skills::marks::Shape;
use tempfile::TempDir;

use super::*;

/// A folder of commands.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a command that the shell runs.
    fn script(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn commands(&self, limits: Limits) -> Commands {
        Commands { limits, ..Commands::new(Some(self.path().to_owned())) }
    }

    async fn read(&self, script: &str) -> Result<Reading, String> {
        self.read_within(script, Limits::default()).await
    }

    async fn read_within(&self, script: &str, limits: Limits) -> Result<Reading, String> {
        self.script("command", script);
        read(&self.commands(limits), "command", "text").await
    }
}

const SHORT: Limits = Limits { time: Duration::from_millis(400), output: 1 << 20, memory: 1 << 30 };

async fn read(commands: &Commands, name: &str, text: &str) -> Result<Reading, String> {
    let skill = SkillUse {
        name: "mine".into(),
        output: SkillOutput::Boxes,
        scale: SkillUse::SCALE,
        actions: vec![],
        draw: false,
        command: Some(name.into()),
    };
    let answer = Answer { text, calls: &[], is_cut: true };
    let picture = Picture { size: (640, 480), seen: (320, 240) };
    let pictures = [(VisualKind::Image, picture)];
    commands.read(name, &answer, &skill, Some(VisionFamily::Qwen25Vl), &pictures).await
}

/// Waits until the process whose id is in a file has ended.
async fn is_gone(file: &Path) -> bool {
    let id = std::fs::read_to_string(file).unwrap();
    let stat = Path::new("/proc").join(id.trim()).join("stat");
    for _ in 0..100 {
        // A zombie waits for its parent only.
        let stat = std::fs::read_to_string(&stat);
        if stat.is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_command_is_told_the_answer_and_its_images() {
    let folder = Folder::new();
    let reading = folder.read(r#"printf '{"structured":'; cat; printf '}'"#).await.unwrap();
    let told = json!({
        "skill": "mine", "text": "text", "tool_calls": [], "is_cut": true, "family": "qwen2.5-vl",
        "images": [{"kind": "image", "width": 640, "height": 480, "seen_width": 320, "seen_height": 240}],
    });
    assert_eq!(reading.structured, Some(told));
    assert_eq!((reading.marks, reading.warnings), (vec![], vec![]));
}

#[tokio::test]
async fn marks_are_moved_into_their_image_or_left_out() {
    let folder = Folder::new();
    let reply = json!({
        "structured": [1], "warnings": ["odd"],
        "marks": [
            {"image": 0, "box": [700, 10, -5, 1e300], "label": "a"},
            {"point": [1.5, 2.5]},
            {"image": 0, "polygon": [[0, 0], [1, 0], [0, 900]]},
            {"image": 0, "arrow": [[0, 0], [1, 1]]},
            {"image": 1, "point": [1, 1]},
            {"image": 0},
            {"image": 0, "point": [1, 1], "box": [0, 0, 1, 1]},
            {"image": 0, "polygon": []},
        ],
    });
    let reading = folder.read(&format!("cat <<'END'\n{reply}\nEND")).await.unwrap();
    assert_eq!(reading.structured, Some(json!([1])));
    let shapes: Vec<&Shape> = reading.marks.iter().map(|mark| &mark.shape).collect();
    let expected = [
        Shape::Box([0.0, 10.0, 640.0, 480.0]),
        Shape::Point([1.5, 2.5]),
        Shape::Polygon(vec![[0.0, 0.0], [1.0, 0.0], [0.0, 480.0]]),
        Shape::Arrow([[0.0, 0.0], [1.0, 1.0]]),
    ];
    assert_eq!(shapes, expected.iter().collect::<Vec<_>>());
    assert_eq!(reading.marks[0].label.as_deref(), Some("a"));
    assert_eq!(reading.warnings, ["odd", "4 marks of the command have no shape, or no image"]);
}

#[tokio::test]
async fn a_command_has_no_environment_but_a_path() {
    let folder = Folder::new();
    let script = r#"names=$(tr '\000' '\n' </proc/$$/environ | cut -d= -f1 | tr '\n' ' ')
printf '{"structured":["%s","%s","%s"]}' "$names" "$(pwd)" "$(ulimit -t) $(ulimit -c) $(ulimit -n)""#;
    let reading = folder.read(script).await.unwrap();
    assert_eq!(reading.structured, Some(json!(["PATH ", "/", "10 0 64"])));
    // It leads a group of its own.
    let script = r#"printf '{"structured":[%s,%s]}' $$ "$(ps -o pgid= -p $$)""#;
    if let Ok(Reading { structured: Some(Value::Array(ids)), .. }) = folder.read(script).await {
        assert_eq!(ids[0], ids[1]);
    }
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let folder = Folder::new();
    let pid = folder.path().join("pid");
    let began = Instant::now();
    let script = format!("sleep 1000 & echo $! >{}; wait", pid.display());
    let error = folder.read_within(&script, SHORT).await.unwrap_err();
    assert_eq!(error, "it took longer than 400ms");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(is_gone(&pid).await);
    // One that closes its output and goes on, and one that escapes its group and keeps the output open.
    for script in ["exec >&-; sleep 1000", "setsid sleep 2 & echo '{}'"] {
        let error = folder.read_within(script, SHORT).await.unwrap_err();
        assert_eq!(error, "it took longer than 400ms", "{script}");
    }
    // One whose reader has left.
    folder.script("command", &format!("sleep 1000 & echo $! >{}; wait", pid.display()));
    std::fs::remove_file(&pid).unwrap();
    let commands = folder.commands(Limits::default());
    let left = tokio::time::timeout(Duration::from_millis(400), read(&commands, "command", "x"));
    assert!(left.await.is_err());
    assert!(is_gone(&pid).await);
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_killed_at_its_end() {
    let folder = Folder::new();
    let pid = folder.path().join("pid");
    let script = format!("sleep 1000 >/dev/null 2>&1 & echo $! >{}; echo '{{}}'", pid.display());
    let began = Instant::now();
    assert_eq!(folder.read(&script).await.unwrap(), Reading::default());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(is_gone(&pid).await);
}

#[tokio::test]
async fn a_flood_of_output_ends_a_command() {
    let folder = Folder::new();
    let began = Instant::now();
    let error = folder.read("exec yes").await.unwrap_err();
    assert_eq!(error, "it writes more than 1048576 bytes");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Its messages are not limited, but only their end is kept.
    folder.script("loud", "yes noise | head -c 3000000 >&2; echo last >&2; echo '{}'");
    let program = folder.path().join("loud");
    let ended = run(&program, b"", &Limits::default()).await;
    assert_eq!(ended.output.unwrap(), b"{}\n");
    let messages = ended.messages;
    assert!(messages.ends_with("noise\nlast") && messages.len() <= 1_000, "{}", messages.len());
}

#[tokio::test]
async fn a_command_that_fails_says_how() {
    let folder = Folder::new();
    for (script, expected) in [
        ("echo '{}'; exit 3", "it ended with the exit code 3"),
        ("kill -SEGV $$", "it was ended by the signal 11"),
        ("echo nonsense", "its output is not the JSON that is expected: expected ident at line 1"),
        ("echo '{\"structured\": 1} 2'", "not the JSON that is expected: trailing characters"),
        (
            "echo '{\"marks\": [{\"box\": [1, 2, 3]}]}'",
            "not the JSON that is expected: invalid length 3",
        ),
        ("echo '{\"boxes\": []}'", "unknown field `boxes`"),
        ("printf '{\"structured\": \"\\377\"}'", "not the JSON that is expected"),
        ("true", "not the JSON that is expected: EOF while parsing"),
    ] {
        let error = folder.read(script).await.unwrap_err();
        assert!(error.contains(expected), "{script}: {error}");
    }
    // It need not read what it is told.
    folder.script("deaf", "exec echo '{}'");
    let commands = folder.commands(Limits::default());
    let long = "x".repeat(5_000_000);
    assert_eq!(read(&commands, "deaf", &long).await.unwrap(), Reading::default());
    std::fs::write(folder.path().join("no-format"), [0_u8; 100]).unwrap();
    let mode = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path().join("no-format"), mode).unwrap();
    let error = read(&commands, "no-format", "").await.unwrap_err();
    assert!(error.starts_with("it ended with the exit code"), "{error}");
}

#[tokio::test]
async fn memory_is_limited() {
    let folder = Folder::new();
    let limits = Limits { memory: 64 << 20, ..Limits::default() };
    // A line of 300 MB, which `tail` keeps.
    let script = "head -c 300000000 /dev/zero | tail -n 1 >/dev/null && echo '{}'";
    let error = folder.read_within(script, limits).await.unwrap_err();
    assert!(error.starts_with("it ended with the exit code"), "{error}");
}

#[tokio::test]
async fn only_programs_in_the_folder_are_commands() {
    let (folder, outside) = (Folder::new(), Folder::new());
    outside.script("secret", "echo '{}'");
    folder.script("real", "echo '{}'");
    let here = folder.path();
    symlink(outside.path().join("secret"), here.join("link")).unwrap();
    symlink(here.join("real"), here.join("alias")).unwrap();
    symlink(outside.path(), here.join("folder")).unwrap();
    std::fs::create_dir(here.join("inner")).unwrap();
    std::fs::write(here.join("data"), "#!/bin/sh\necho '{}'\n").unwrap();
    let commands = folder.commands(Limits::default());
    for name in ["real", "alias"] {
        assert_eq!(read(&commands, name, "").await.unwrap(), Reading::default(), "{name}");
    }
    let long = "a".repeat(65);
    for (name, expected) in [
        ("link", "it is outside of the folder of commands"),
        ("folder", "it is outside of the folder of commands"),
        ("inner", "it is no program"),
        ("data", "it is no program"),
        ("gone", "there is no such command"),
        ("", "its name is not 1 to 64 small letters"),
        (&*long, "its name is not"),
        ("..", "its name is not"),
        ("folder/secret", "its name is not"),
        ("Real", "its name is not"),
        ("real\n", "its name is not"),
    ] {
        let error = read(&commands, name, "").await.unwrap_err();
        assert!(error.starts_with(expected), "{name:?}: {error}");
    }
    let none = Commands::new(None);
    assert_eq!(read(&none, "real", "").await.unwrap_err(), "this worker runs no commands");
}
