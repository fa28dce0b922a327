//! Outputs that go away: closed pipes, full disks, terminals that are gone.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use harness::cli::Cli;
use harness::client::Client;
use harness::free_port;
use harness::process::{Home, KEY, Process, binary};
use harness::terminal::Terminal;
use harness::wait_for;

const SOON: Duration = Duration::from_secs(30);
/// 128 and SIGPIPE.
const CLOSED: i32 = 141;
/// A task was accepted, and its id could not be printed.
const ID_LOST: i32 = 4;

/// The target of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// A pipe that this test reads.
    Us,
    /// A pipe whose reader has gone.
    ClosedPipe,
    /// A disk without room.
    Full,
}

impl To {
    fn stdio(self) -> Stdio {
        match self {
            Self::Us => Stdio::piped(),
            Self::ClosedPipe => std::io::pipe().expect("a pipe").1.into(),
            Self::Full => {
                File::options().write(true).open("/dev/full").expect("Linux has it").into()
            }
        }
    }
}

struct System {
    home: Home,
    _up: Process,
    client: Client,
    cli: Cli,
}

impl System {
    fn start() -> Self {
        let (home, port) = (Home::new(), free_port());
        let port_text = port.to_string();
        let settings = [
            ("PORT", port_text.as_str()),
            ("API_KEYS", KEY),
            ("ADMIN_API_KEY", harness::cli::ADMIN_KEY),
        ];
        let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
        let client = Client::new(port);
        client.wait_until_healthy(&mut up, true);
        Self { home, _up: up, client, cli: Cli::new(port) }
    }

    /// Runs a verb whose outputs lead there.
    fn run(&self, args: &[&str], out: To, err: To) -> Output {
        let program = binary("qwen-queue");
        let mut command = self.cli.command(program.to_str().expect("UTF-8"), args);
        let child = command.stdout(out.stdio()).stderr(err.stdio()).spawn().expect("it runs");
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.signal(), None, "{args:?}: {ended:?}");
        assert_ne!(ended.status.code(), Some(101), "a panic: {args:?}: {ended:?}");
        ended
    }

    fn logs(&self) -> String {
        self.home.path().join("logs").to_str().expect("UTF-8").to_owned()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_id_of_an_accepted_task_is_never_lost() {
    let system = System::start();
    let submit = ["submit", "What is a lease?", "--max-tokens", "4"];
    for (out, code, reason) in [(To::ClosedPipe, CLOSED, ""), (To::Full, 1, "No space left")] {
        let ended = system.run(&submit, out, To::Us);
        let said = said(&ended);
        assert_eq!(ended.status.code(), Some(code), "{out:?}: {said}");
        let task = said.lines().find_map(|line| line.strip_prefix("task ")).expect("its id");
        assert!(said.contains(reason) && !said.contains("panicked"), "{out:?}: {said}");
        assert_eq!(system.client.get(&format!("/status/{task}")).status, 200, "{out:?}: {said}");
    }
    for (out, err) in
        [(To::Full, To::Full), (To::ClosedPipe, To::ClosedPipe), (To::Full, To::ClosedPipe)]
    {
        let ended = system.run(&submit, out, err);
        assert_eq!(ended.status.code(), Some(ID_LOST), "{out:?} {err:?}");
        // Neither the answer nor the id can be printed.
        let ended = system.run(&[&submit[..], &["--wait"]].concat(), out, err);
        assert_eq!(ended.status.code(), Some(ID_LOST), "{out:?} {err:?}");
    }
    for how in ["--wait", "--stream"] {
        for (out, code) in [(To::ClosedPipe, CLOSED), (To::Full, 1)] {
            let ended = system.run(&[&submit[..], &[how]].concat(), out, To::Us);
            assert_eq!(ended.status.code(), Some(code), "{how} {out:?}: {}", said(&ended));
            assert!(said(&ended).starts_with("task "), "{how} {out:?}: {}", said(&ended));
        }
    }
}

#[test]
fn every_command_exits_as_expected_when_its_output_is_closed() {
    let system = System::start();
    let task = system.client.ask("What is a lease?");
    system.client.wait_for_state(&task, "completed");
    let logs = system.logs();
    wait_for("a line in the log", SOON, || {
        let logged = system.home.read("logs/llm_requests.log");
        logged.contains(&task).then_some(())
    });
    let verbs: &[&[&str]] = &[
        &["status", &task],
        &["result", &task],
        &["result", &task, "--json"],
        &["watch", &task],
        &["cancel", &task],
        &["queues"],
        &["workers", "--json"],
        &["top", "--once"],
        &["top", "--json"],
        &["pause", "demo"],
        &["resume", "demo", "--json"],
        &["dead", "list"],
        &["dead", "purge", "--all", "--yes"],
        &["logs", "--dir", &logs],
        &["logs", "--dir", &logs, "--json"],
        &["logs", "--dir", &logs, "--summary"],
        &["model", "synth", "--shape", "tiny", "--output", "tiny.gguf"],
        &["--help"],
        &["submit", "--help"],
        &["--version"],
    ];
    for args in verbs {
        let ended = system.run(args, To::ClosedPipe, To::Us);
        assert_eq!(ended.status.code(), Some(CLOSED), "{args:?}: {}", said(&ended));
        assert!(!said(&ended).contains("qwen-queue:"), "quietly: {args:?}: {}", said(&ended));
        let ended = system.run(args, To::Full, To::Us);
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {}", said(&ended));
        assert!(
            said(&ended).contains("standard output can't be written to"),
            "{args:?}: {}",
            said(&ended)
        );
        assert!(said(&ended).contains("No space left"), "{args:?}: {}", said(&ended));
        system.run(args, To::Full, To::Full);
    }
}

#[test]
fn lost_standard_error_does_not_stop_commands() {
    let system = System::start();
    let prompt = ["submit", "What is a lease?", "--max-tokens", "8", "--temperature", "0"];
    let expected = system.run(&[&prompt[..], &["--wait"]].concat(), To::Us, To::Us).stdout;
    assert!(!expected.is_empty());
    for err in [To::ClosedPipe, To::Full] {
        for how in ["--wait", "--stream"] {
            let ended = system.run(&[&prompt[..], &[how]].concat(), To::Us, err);
            assert_eq!((ended.status.code(), &ended.stdout), (Some(0), &expected), "{how} {err:?}");
        }
        let ended = system.run(&prompt, To::Us, err);
        let task = String::from_utf8(ended.stdout).expect("an id");
        let ended = system.run(&["result", task.trim(), "--wait"], To::Us, err);
        assert_eq!((ended.status.code(), &ended.stdout), (Some(0), &expected), "{err:?}");
        assert_eq!(system.run(&["status", task.trim()], To::Us, err).stdout, b"completed\n");
        // The reason can't be printed, but the exit code reports the error.
        assert_eq!(system.run(&["status", "x"], To::Us, err).status.code(), Some(1));
        let asked = system.run(&["dead", "purge", "--all"], To::Us, err);
        assert_eq!(asked.status.code(), Some(1), "nobody could be asked");
    }
}

/// Runs a line of bash, and gives what it printed on both outputs.
fn bash(system: &System, line: &str) -> (String, String) {
    let program = binary("qwen-queue");
    let line = line.replace("QQ", program.to_str().expect("UTF-8"));
    let ended = system.cli.command("bash", &["-c", &line]).output().expect("bash runs");
    (String::from_utf8_lossy(&ended.stdout).trim().to_owned(), said(&ended))
}

#[test]
fn commands_work_in_shell_pipes() {
    let system = System::start();
    // A reader that has gone before anything is written.
    let (codes, said) = bash(
        &system,
        "QQ submit hi | (exec <&-; sleep 0.2; cat </dev/null); echo ${PIPESTATUS[0]}",
    );
    assert!(codes == "141" && said.starts_with("task "), "{codes}: {said}");
    // One that goes at some time: the id is in the pipe, or was said.
    for _ in 0..5 {
        let (code, said) = bash(&system, "QQ submit hi | true; echo ${PIPESTATUS[0]}");
        assert!(code == "0" || code == "141" && said.starts_with("task "), "{code}: {said}");
    }
    let stream = "QQ submit 'What is a lease?' --stream | head -c 1; echo \" ${PIPESTATUS[0]}\"";
    let (printed, said) = bash(&system, stream);
    assert!(printed.ends_with(" 141") || printed.ends_with(" 0"), "{printed}: {said}");
    assert!(said.starts_with("task ") && !said.contains("panicked"), "{said}");
    // Closed from the beginning is the same as /dev/null.
    let (code, _) = bash(&system, "QQ submit 'What is a lease?' --wait 2>&- >/dev/null; echo $?");
    assert_eq!(code, "0");
    let (code, said) = bash(&system, "QQ queues >&-; echo $? >&2; echo done");
    assert!(code == "done" && said.trim() == "0", "{code}: {said}");
}

#[test]
fn up_prints_its_key_to_a_working_output_and_keeps_serving() {
    let start = |home: &Home, keys: &[(&str, &str)], out: To, err: To| {
        let port = free_port();
        let child = Command::new(binary("qwen-queue"))
            .arg("up")
            .current_dir(home.path())
            .env_clear()
            .envs([("HOST", "127.0.0.1"), ("PORT", &port.to_string())])
            .envs(keys.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.stdio())
            .stderr(err.stdio())
            .spawn()
            .expect("it runs");
        (port, child)
    };
    let key = [("API_KEYS", KEY)];
    for (out, err) in [(To::ClosedPipe, To::ClosedPipe), (To::Full, To::Full)] {
        let home = Home::new();
        let (port, mut child) = start(&home, &key, out, err);
        wait_for("health", SOON, || {
            assert_eq!(child.try_wait().expect("it is ours"), None, "{out:?}: it ended");
            ureq::get(format!("http://127.0.0.1:{port}/health")).call().ok()
        });
        child.kill().expect("it runs");
        child.wait().expect("it is ours");
        // A generated key that can't be printed is of no use.
        let home = Home::new();
        let (_, mut child) = start(&home, &[], out, err);
        let ended = wait_for("its end", SOON, || child.try_wait().expect("it is ours"));
        assert_eq!(ended.code(), Some(1), "{out:?}: {ended}");
        assert!(home.read("logs/app.log").contains("API_KEYS"), "{}", home.read("logs/app.log"));
    }
    let home = Home::new();
    let (port, mut child) = start(&home, &[], To::Full, To::Us);
    wait_for("health", SOON, || ureq::get(format!("http://127.0.0.1:{port}/health")).call().ok());
    child.kill().expect("it runs");
    let said = said(&child.wait_with_output().expect("it ends"));
    assert!(said.contains("key    qq-"), "{said}");
}

#[test]
fn top_ends_by_sighup_when_its_terminal_closes() {
    let system = System::start();
    let code = system.home.path().join("code");
    // The shell leads the session, so it alone is sent SIGHUP; it outlives that and notes how top ended:
    // by 128 and SIGHUP, as if it had been sent to it. So too where it is ignored, as under nohup.
    for trap in ["trap : HUP", "trap '' HUP"] {
        let _ = std::fs::remove_file(&code);
        let top = Terminal::start_in(&system.cli, trap, "top --interval 0.2", &code);
        top.wait_for_text("demo");
        top.close_and_wait();
        let ended = wait_for("how top ended", SOON, || {
            std::fs::read_to_string(&code).ok().filter(|code| code.ends_with('\n'))
        });
        assert_eq!(ended.trim(), "129", "{trap}");
    }
}
