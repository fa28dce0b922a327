//! The pool of compute threads.
//!
//! A job is a number of pieces that any thread may take. The caller takes pieces too, and waits
//! only for pieces that other threads have taken, never for a thread that has not started one: if
//! another program occupies a core, the other cores do the work.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long an idle thread spins before it sleeps: longer than the time between two products of a
/// step, and short enough not to waste a core.
const SPIN_DURATION: Duration = Duration::from_micros(50);

/// Calls a closure, given as a pointer, on a piece. Type-erased, so that it fits into an atomic.
type Call = unsafe fn(*const (), usize);

/// What a thread computes, and so the pool that runs its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Steps,
    Images,
}

thread_local! {
    static WORK: Cell<Work> = const { Cell::new(Work::Steps) };
}

/// Makes the calling thread one that encodes images: its jobs run in the pool for images. It has the priority of the
/// threads of steps: with a lower one, images that are requested together are encoded one by one between the answers,
/// and these are hardly ever computed together (docs/benchmarks/vision.md).
pub(crate) fn encode_images() {
    WORK.set(Work::Images);
    crate::system::defer_to_others();
}

struct Pool {
    work: Work,
    /// Pieces of the current job that are not taken. A thread takes one by decrementing this; it
    /// may then read the other fields until it reports the piece as done.
    left: AtomicUsize,
    done: AtomicUsize,
    pieces: AtomicUsize,
    data: AtomicPtr<()>,
    call: AtomicPtr<()>,
    /// The panic of a piece, for the caller to resume.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Held while a job runs: there is one at a time.
    busy: Mutex<()>,
    workers: OnceLock<Vec<Thread>>,
    asleep: Vec<AtomicBool>,
}

/// The number of compute threads: `RAYON_NUM_THREADS`, or the physical cores that this process may
/// use.
pub(crate) fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| {
        let wanted = candle_core::utils::get_num_threads();
        if std::env::var_os("RAYON_NUM_THREADS").is_some() {
            return wanted;
        }
        // Respects CPU affinity and a container's quota.
        std::thread::available_parallelism().map_or(wanted, |free| wanted.min(free.get()))
    })
}

/// Runs `work` on every piece in `0..pieces` on all threads, and returns when all are done. Runs on
/// the calling thread alone if another job is running or this is part of one. Panics if a piece
/// panics.
pub(super) fn run<F: Fn(usize) + Sync>(pieces: usize, work: &F) {
    let pool = if pieces > 1 && threads() > 1 { Some(Pool::current()) } else { None };
    let turn = pool.map(|pool| (pool, pool.busy.try_lock()));
    match turn {
        Some((pool, Ok(_turn))) => pool.run(pieces, work),
        Some((pool, Err(TryLockError::Poisoned(_turn)))) => pool.run(pieces, work),
        _ => (0..pieces).for_each(work),
    }
}

impl Pool {
    /// Returns the pool that runs the calling thread's jobs.
    fn current() -> &'static Self {
        static POOLS: [OnceLock<Pool>; 2] = [const { OnceLock::new() }; 2];
        let work = WORK.get();
        let pool = POOLS[work as usize].get_or_init(|| Self {
            work,
            left: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            pieces: AtomicUsize::new(0),
            data: AtomicPtr::new(std::ptr::null_mut()),
            call: AtomicPtr::new(std::ptr::null_mut()),
            panic: Mutex::new(None),
            busy: Mutex::new(()),
            workers: OnceLock::new(),
            asleep: (1..threads()).map(|_| AtomicBool::new(false)).collect(),
        });
        pool.workers.get_or_init(|| {
            let spawn = |index| {
                let name = match work {
                    Work::Steps => format!("engine-worker-{index}"),
                    Work::Images => format!("engine-image-{index}"),
                };
                std::thread::Builder::new().name(name).spawn(move || pool.work(index))
            };
            // If a thread cannot be started, the others do the work.
            (0..pool.asleep.len())
                .map_while(|index| spawn(index).ok())
                .map(|it| it.thread().clone())
                .collect()
        });
        pool
    }

    fn run<F: Fn(usize) + Sync>(&self, pieces: usize, work: &F) {
        unsafe fn call<F: Fn(usize)>(data: *const (), piece: usize) {
            // SAFETY: `data` is the `work` of the job that the piece belongs to.
            unsafe { (*data.cast::<F>())(piece) }
        }
        self.pieces.store(pieces, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        self.data.store(std::ptr::from_ref(work).cast_mut().cast(), Ordering::Relaxed);
        self.call.store(call::<F> as Call as *mut (), Ordering::Relaxed);
        self.left.store(pieces, Ordering::SeqCst);
        for (worker, asleep) in self.workers.get().into_iter().flatten().zip(&self.asleep) {
            if asleep.load(Ordering::SeqCst) {
                worker.unpark();
            }
        }
        while self.take() {}
        // Other threads are still working on pieces they took. They need less than a piece's time
        // if they have a core; if not, yield this one.
        let mut rounds = 0;
        while self.done.load(Ordering::Acquire) < pieces {
            rounds += 1;
            if rounds < 2000 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Takes a piece and runs it. Returns `false` if none is left.
    fn take(&self) -> bool {
        let left =
            self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        let Ok(left) = left else { return false };
        let piece = self.pieces.load(Ordering::Relaxed) - left;
        let data = self.data.load(Ordering::Relaxed);
        let call = self.call.load(Ordering::Relaxed);
        // SAFETY: this piece was taken and is not done, so its job is not over: `run` stored both
        // before it offered the piece, and still borrows what `data` points to.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
            let call: Call = std::mem::transmute(call);
            call(data, piece);
        }));
        if let Err(panic) = outcome {
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
        self.done.fetch_add(1, Ordering::Release);
        true
    }

    /// The loop of a pool thread.
    fn work(&self, index: usize) -> ! {
        match self.work {
            Work::Steps => crate::system::defer_to_others(),
            Work::Images => encode_images(),
        }
        let mut idle_since = None;
        loop {
            if self.take() {
                idle_since = None;
                continue;
            }
            let since = *idle_since.get_or_insert_with(Instant::now);
            if since.elapsed() < SPIN_DURATION {
                (0..32).for_each(|_| std::hint::spin_loop());
                continue;
            }
            let asleep = &self.asleep[index];
            asleep.store(true, Ordering::SeqCst);
            // Sequentially consistent: either this load sees the new pieces, or `run` sees that
            // this thread is asleep and unparks it.
            if self.left.load(Ordering::SeqCst) == 0 {
                std::thread::park();
            }
            asleep.store(false, Ordering::SeqCst);
            idle_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_runs_once_for_each_caller() {
        std::thread::scope(|scope| {
            for caller in 0..4 {
                scope.spawn(move || {
                    for pieces in (0..300).chain([5000]) {
                        let done: Vec<AtomicUsize> =
                            (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                        run(pieces, &|piece| {
                            done[piece].fetch_add(1, Ordering::Relaxed);
                            if piece % 64 == caller {
                                // A nested job runs on the calling thread.
                                run(3, &|_| {
                                    done[piece].fetch_add(1, Ordering::Relaxed);
                                });
                            }
                        });
                        for (piece, done) in done.iter().enumerate() {
                            let expected = if piece % 64 == caller { 4 } else { 1 };
                            assert_eq!(done.load(Ordering::Relaxed), expected);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn a_job_for_an_image_runs_beside_one_of_steps() {
        let (started, release) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                encode_images();
                run(2, &|_| {
                    started.store(true, Ordering::Release);
                    while !release.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                });
            });
            while !started.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            // The other pool is free, so its threads take pieces as soon as they have a core.
            let names = Mutex::new(std::collections::BTreeSet::new());
            let helped = |names: &std::collections::BTreeSet<String>| {
                threads() == 1 || names.iter().any(|name| name.starts_with("engine-worker"))
            };
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(60) && !helped(&names.lock().unwrap()) {
                run(100, &|_| {
                    let name = std::thread::current().name().unwrap_or_default().to_owned();
                    names.lock().unwrap().insert(name);
                    std::thread::sleep(Duration::from_micros(20));
                });
            }
            release.store(true, Ordering::Release);
            let names = names.into_inner().unwrap();
            assert!(helped(&names), "{names:?}");
            assert!(names.iter().all(|name| !name.starts_with("engine-image")), "{names:?}");
        });
    }

    #[test]
    fn a_panic_propagates_to_the_caller_and_the_threads_survive() {
        for _ in 0..50 {
            let outcome = catch_unwind(|| run(40, &|piece| assert!(piece != 17, "piece 17")));
            assert!(outcome.is_err());
            let sum = AtomicUsize::new(0);
            run(40, &|piece| {
                sum.fetch_add(piece, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 780);
        }
    }
}
