//! Many open pages at one gateway: monitors that poll, chats that stream, and clients that read nothing.
#![allow(clippy::print_stdout)] // what was measured belongs to a test's output

use std::io::BufReader;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::process::ADMIN_KEY;
use harness::system::{Plan, System};

use crate::frames::Frames;
use crate::many_streams::{open, proc_status};

const MONITORS: usize = 200;
const CHATS: usize = 200;
/// Clients that ask for a stream and never read it.
const DEAF: usize = 20;
/// How often the web UI's monitor reads the overview; it reads the history at every fifth time.
const EVERY: Duration = Duration::from_secs(2);
/// Memory that a gateway may need for each of them.
const BYTES_PER_CLIENT: u64 = 64 * 1024;
/// The longest time that 99 of 100 looks at the overview may take, on a machine that computes other tests too.
const LOOK: Duration = Duration::from_secs(2);

/// Returns the processor time of a process so far, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    // The name, in parentheses, may have spaces. Fields 14 and 15 are ticks, of which a second has 100.
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace().skip(11);
    fields.take(2).map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
}

/// Looks as an open monitor does until `stop`; returns how long each look at the overview took.
fn watch(port: u16, number: usize, stop: &AtomicBool) -> Vec<Duration> {
    let client = Client::with_key(port, ADMIN_KEY);
    // The pages were not opened at the same moment.
    let mut next = Instant::now() + EVERY * number as u32 / MONITORS as u32;
    let mut looks = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if Instant::now() < next {
            sleep(Duration::from_millis(20));
            continue;
        }
        let asked = Instant::now();
        let overview = client.get("/admin/overview");
        looks.push(asked.elapsed());
        assert_eq!(overview.status, 200, "{}", overview.body);
        if looks.len() % 5 == 1 {
            assert_eq!(client.get("/admin/history?minutes=60").status, 200);
        }
        next = asked + EVERY;
    }
    looks
}

/// Reads a stream to its end. Returns its text, and whether it ended as it should.
fn read(socket: TcpStream) -> (String, bool) {
    let chunks: Vec<_> = Frames::new(BufReader::new(socket)).collect();
    let choices = || chunks.iter().map(|chunk| &chunk["choices"][0]);
    let text = choices().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
    (text, choices().filter(|choice| choice["finish_reason"].is_string()).count() == 1)
}

#[test]
fn monitors_and_clients_that_read_nothing_hold_up_no_chat() {
    let settings = [("ADMIN_API_KEY", ADMIN_KEY)];
    let plan =
        Plan { model: "demo", workers: 0, lease: Duration::from_secs(10), settings: &settings };
    let mut system = System::start(&plan);
    let (pid, port) = (system.gateway.process().pid(), system.client.port());
    let memory = proc_status(pid, "VmRSS");
    let deaf: Vec<TcpStream> = (0..DEAF).map(|n| open(port, n)).collect();
    let chats: Vec<TcpStream> = (0..CHATS).map(|n| open(port, DEAF + n)).collect();
    let (stop, began, used) = (AtomicBool::new(false), Instant::now(), cpu_seconds(pid));
    let (answers, mut looks) = std::thread::scope(|scope| {
        let monitors: Vec<_> = (0..MONITORS)
            .map(|n| {
                scope.spawn({
                    let stop = &stop;
                    move || watch(port, n, stop)
                })
            })
            .collect();
        system.add_worker(&[]);
        let answers: Vec<(String, bool)> = chats.into_iter().map(read).collect();
        // Each monitor looks at least twice.
        sleep((3 * EVERY).saturating_sub(began.elapsed()));
        stop.store(true, Ordering::Relaxed);
        let looks = monitors.into_iter().flat_map(|watching| watching.join().expect("its looks"));
        (answers, looks.collect::<Vec<_>>())
    });
    let (seconds, peak) = (began.elapsed().as_secs_f64(), proc_status(pid, "VmHWM"));
    looks.sort_unstable();
    let (median, late) = (looks[looks.len() / 2], looks[looks.len() * 99 / 100]);
    println!(
        "{MONITORS} monitors, {CHATS} chats and {DEAF} clients that read nothing, {seconds:.1} s: {} looks, median \
         {median:.1?}, p99 {late:.1?}; the gateway used {:.2} of a core, memory {memory} KiB and at most {peak} KiB",
        looks.len(),
        (cpu_seconds(pid) - used) / seconds
    );
    assert!(answers.iter().all(|(text, is_whole)| *is_whole && !text.is_empty()), "{answers:?}");
    assert!(looks.len() >= 2 * MONITORS && late <= LOOK, "{} looks, p99 {late:?}", looks.len());
    let clients = (MONITORS + CHATS + DEAF) as u64;
    assert!((peak - memory) * 1024 <= clients * BYTES_PER_CLIENT, "{memory} KiB, then {peak} KiB");
    drop(deaf);
}
