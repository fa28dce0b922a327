//! Walks docs/SECURITY.md: the gateway behind a real nginx with `deploy/nginx.conf` and a certificate of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::process::{ADMIN_KEY, Home, KEY, Process};
use harness::{free_port, wait_for};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

/// A running nginx; dropping it ends it.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the command runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// Starts nginx with the documented configuration, adapted to the ports and the folder.
fn nginx(home: &Path, public: u16, gateway: u16) -> Nginx {
    run(Command::new("openssl").current_dir(home).args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]));
    let documented = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx.conf");
    let mut server = fs::read_to_string(documented).expect("deploy/nginx.conf");
    let folder = home.display();
    for (from, to) in [
        ("127.0.0.1:8000", format!("127.0.0.1:{gateway}")),
        ("listen 443", format!("listen 127.0.0.1:{public}")),
        ("llm.example.com;                      # <-", "localhost;".to_owned()),
        ("/etc/ssl/llm.example.com.pem", format!("{folder}/cert.pem")),
        ("/etc/ssl/llm.example.com.key", format!("{folder}/key.pem")),
    ] {
        assert!(server.contains(from), "deploy/nginx.conf has no {from}");
        server = server.replace(from, &to);
    }
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    // Its workers read the folder, which is this user's.
    let is_root = run(Command::new("id").arg("-u")).stdout == b"0\n";
    let user = if is_root { "user root;" } else { "" };
    let whole = format!(
        "{user} daemon off; pid {folder}/nginx.pid; error_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{server}\n}}\n"
    );
    fs::write(home.join("nginx.conf"), whole).expect("a file");
    let log = fs::File::create(home.join("nginx.log")).expect("a file");
    let child = Command::new("nginx")
        .args(["-e", "stderr", "-p"])
        .arg(home)
        .arg("-c")
        .arg(home.join("nginx.conf"))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("nginx starts: scripts/test installs it");
    let nginx = Nginx(child);
    wait_for("nginx", SOON, || TcpStream::connect(("127.0.0.1", public)).ok().map(drop));
    nginx
}

/// Runs curl, which trusts the certificate. Returns the status and the body.
fn curl(home: &Path, public: u16, path: &str, key: &str, more: &[&str]) -> (u16, String) {
    let output = run(Command::new("curl")
        .current_dir(home)
        .args(["-sS", "--max-time", "60", "--cacert", "cert.pem", "-w", "\n%{http_code}", "-H"])
        .arg(format!("X-API-Key: {key}"))
        .args(more)
        .arg(format!("https://localhost:{public}{path}")));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a status"), body.to_owned())
}

#[test]
fn documented_nginx_configuration_works() {
    let home = Home::new();
    let (port, public, admin) = (free_port(), free_port(), free_port());
    let (port_text, admin_text) = (port.to_string(), admin.to_string());
    let settings = [
        ("PORT", port_text.as_str()),
        ("ADMIN_PORT", admin_text.as_str()),
        ("API_KEYS", KEY),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
    Client::new(port).wait_until_healthy(&mut up, true);
    let folder = Home::new();
    let _nginx = nginx(folder.path(), public, port);
    let curl = |path: &str, key: &str, more: &[&str]| curl(folder.path(), public, path, key, more);

    // A task, and its answer.
    let (status, body) =
        curl("/generate", KEY, &["--json", r#"{"prompt": "What is a lease?", "max_tokens": 8}"#]);
    assert_eq!(status, 202, "{body}");
    let task: Value = serde_json::from_str(&body).expect("JSON");
    let (status, body) =
        curl(&format!("/result/{}?wait=30", task["task_id"].as_str().expect("an id")), KEY, &[]);
    assert_eq!(status, 200, "{body}");

    // A stream comes event by event.
    let body = json!({"model": "demo", "stream": true, "max_tokens": 48, "messages": [{"role": "user", "content": "Count."}]});
    let mut streaming = Command::new("curl")
        .current_dir(folder.path())
        .args([
            "-sSN",
            "--cacert",
            "cert.pem",
            "-H",
            &format!("Authorization: Bearer {KEY}"),
            "--json",
        ])
        .arg(body.to_string())
        .arg(format!("https://localhost:{public}/v1/chat/completions"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl runs");
    let mut output = streaming.stdout.take().expect("its output");
    let (mut text, mut piece, mut arrivals) = (Vec::new(), [0; 4096], 0);
    let began = Instant::now();
    while let Ok(count @ 1..) = output.read(&mut piece) {
        text.extend_from_slice(&piece[..count]);
        arrivals += 1;
    }
    assert!(streaming.wait().expect("it ends").success() && began.elapsed() < SOON);
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    assert!(arrivals > 1, "the stream was held back");

    // An upload that is larger than nginx takes by default.
    let mut file = fs::File::create(folder.path().join("large.jsonl")).expect("a file");
    file.write_all(&vec![b'x'; 5 << 20]).expect("room");
    let (status, body) =
        curl("/v1/files", KEY, &["-F", "purpose=user_data", "-F", "file=@large.jsonl"]);
    assert_eq!(status, 200, "{body}");

    // The client's address, not nginx's; what the client claims is replaced.
    let forged = ["-H", "X-Forwarded-For: 203.0.113.9", "-H", "Forwarded: for=203.0.113.9"];
    assert_eq!(curl("/v1/models", "wrong-key-from-outside", &forged).0, 401);
    let audit = || home.read("logs/audit.log");
    wait_for("the refused call", SOON, || audit().contains("reason=").then_some(()));
    assert!(audit().contains("act=access actor=none address=127.0.0.1 "), "{}", audit());
    assert!(!audit().contains("203.0.113.9"), "{}", audit());

    // Operators' routes are closed from outside, and open inside.
    let closed = ["/admin/overview", "/admin", "/admin/../admin/overview", "/%61dmin/overview"];
    for path in closed.into_iter().chain(["/metrics", "/%6detrics"]) {
        let (status, body) = curl(path, ADMIN_KEY, &["--path-as-is"]);
        assert_eq!(status, 404, "{path}: {body}");
    }
    let inside = Client::with_key(admin, ADMIN_KEY);
    assert_eq!(inside.get("/admin/overview").status, 200);
}
