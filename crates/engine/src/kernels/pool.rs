//! The threads that compute.
//!
//! A job is a number of pieces that any thread may take. Who wants a job done takes pieces too, and
//! waits only for pieces that others have begun, never for a thread that has not come: when another
//! program holds a core, the rest of the work is done on those that are free.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a thread without work looks for more before it sleeps: longer than what lies between
/// two products of a step, shorter than anybody would notice.
const AWAKE: Duration = Duration::from_micros(50);

/// A function on pieces, as two pointers that may change hands.
type Call = unsafe fn(*const (), usize);

struct Pool {
    /// Pieces of the current job that nobody has taken. Taking one is counting down; a thread that
    /// did so may look at the rest until it reports the piece done.
    left: AtomicUsize,
    done: AtomicUsize,
    pieces: AtomicUsize,
    data: AtomicPtr<()>,
    call: AtomicPtr<()>,
    /// What a piece panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// One job at a time.
    busy: Mutex<()>,
    workers: OnceLock<Vec<Thread>>,
    asleep: Vec<AtomicBool>,
}

/// How many threads compute: `RAYON_NUM_THREADS`, or the physical cores that this process may use.
pub(crate) fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| {
        let wanted = candle_core::utils::get_num_threads();
        if std::env::var_os("RAYON_NUM_THREADS").is_some() {
            return wanted;
        }
        // Knows of affinity and of a container's quota.
        std::thread::available_parallelism().map_or(wanted, |free| wanted.min(free.get()))
    })
}

/// Runs `work` on every piece from 0 to `pieces`, on all threads; returns when all are done. If
/// another job is running, or this is part of one, it runs on this thread alone.
pub(super) fn run<F: Fn(usize) + Sync>(pieces: usize, work: &F) {
    let pool = if pieces > 1 && threads() > 1 { Some(Pool::global()) } else { None };
    let turn = pool.map(|pool| (pool, pool.busy.try_lock()));
    match turn {
        Some((pool, Ok(_turn))) => pool.run(pieces, work),
        Some((pool, Err(TryLockError::Poisoned(_turn)))) => pool.run(pieces, work),
        _ => (0..pieces).for_each(work),
    }
}

impl Pool {
    fn global() -> &'static Self {
        static POOL: OnceLock<Pool> = OnceLock::new();
        let pool = POOL.get_or_init(|| Self {
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
                let name = format!("engine-worker-{index}");
                std::thread::Builder::new().name(name).spawn(move || pool.work(index))
            };
            // Without a thread there is one less; the work is done all the same.
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
        // Others are still at pieces they took: for less time than a piece takes, if they have a
        // core. If not, somebody else may need this one.
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

    /// Takes a piece and computes it; false if there is none.
    fn take(&self) -> bool {
        let left =
            self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        let Ok(left) = left else { return false };
        let piece = self.pieces.load(Ordering::Relaxed) - left;
        let data = self.data.load(Ordering::Relaxed);
        let call = self.call.load(Ordering::Relaxed);
        // SAFETY: this piece was taken and is not done, so its job is not over: `run` has stored
        // both before it offered the piece, and still holds what `data` points at.
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

    /// What a worker does all its life.
    fn work(&self, index: usize) -> ! {
        let mut idle_since = None;
        loop {
            if self.take() {
                idle_since = None;
                continue;
            }
            let since = *idle_since.get_or_insert_with(Instant::now);
            if since.elapsed() < AWAKE {
                (0..32).for_each(|_| std::hint::spin_loop());
                continue;
            }
            let asleep = &self.asleep[index];
            asleep.store(true, Ordering::SeqCst);
            // Either this sees the pieces, or who brings them sees that this sleeps.
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
    fn every_piece_is_done_once_whoever_asks() {
        std::thread::scope(|scope| {
            for caller in 0..4 {
                scope.spawn(move || {
                    for pieces in (0..300).chain([5000]) {
                        let done: Vec<AtomicUsize> =
                            (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                        run(pieces, &|piece| {
                            done[piece].fetch_add(1, Ordering::Relaxed);
                            if piece % 64 == caller {
                                // A job within a job is done on the spot.
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
    fn a_panic_reaches_who_asked_and_the_threads_live_on() {
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
