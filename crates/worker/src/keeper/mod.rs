//! Loads and unloads models as their tasks come, and has each one's tasks claimed while it is in memory.
//!
//! ```text
//! every half second: what waits (the queue) ─▶ swap::next ─┬─ load ─▶ on a thread of its own ─▶ pull
//!                                                          └─ unload ─▶ pull claims no more, ends what it
//!                                                                       has ─▶ memory is given back
//! ```
//!
//! No task is claimed before its model is there, so one that dies while it loads holds nothing; and nothing of a
//! load happens on the threads that renew leases.

mod swap;

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Engine, LoadError};
use protocol::{ModelState, TaskError};
use service::shutdown::CancellationToken;
use tokio::task::{JoinError, JoinSet};

use self::swap::{Stage, Step, View};
use crate::models::{Models, Served};
use crate::pull;
use crate::until::Until;
use crate::{Worker, WorkerError, pulse, refuse};

/// How often it is looked at what waits.
const LOOK: Duration = Duration::from_millis(500);
/// How long the queue may take to say what waits. Without an answer all stays as it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a model that could not be loaded stays out; its tasks fail meanwhile.
const RETRY: Duration = Duration::from_secs(60);

/// What came of a move.
enum Moved {
    In(Result<(Engine, Duration), LoadError>),
    Out,
}

/// Keeps a worker's models.
struct Keeper<'a> {
    worker: &'a Arc<Worker>,
    shutdown: &'a CancellationToken,
    /// Tells attempts to give their tasks back.
    abandon: CancellationToken,
    /// Of each model: tells its pull to claim no more.
    leave: Vec<CancellationToken>,
    /// Of each model: since when its tasks wait without it.
    waiting: Vec<Option<Instant>>,
    /// Those whose tasks are claimed.
    pulls: JoinSet<(usize, Result<(), WorkerError>)>,
    /// Those on their way in or out.
    moves: JoinSet<(usize, Moved)>,
}

/// Keeps the worker's models until `shutdown` or an operator's order, then drains.
pub(crate) async fn run(
    worker: &Arc<Worker>,
    shutdown: &CancellationToken,
) -> Result<(), WorkerError> {
    let draining = worker.running.draining();
    let count = worker.models.all().len();
    let mut keeper = Keeper {
        worker,
        shutdown,
        abandon: CancellationToken::new(),
        leave: vec![CancellationToken::new(); count],
        waiting: vec![None; count],
        pulls: JoinSet::new(),
        moves: JoinSet::new(),
    };
    for place in 0..count {
        if let Some(engine) = worker.models.all()[place].engine() {
            keeper.pull(place, engine);
        }
    }
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut result = Ok(());
    while result.is_ok() {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = draining.cancelled() => break,
            Some(ended) = keeper.pulls.join_next() => result = keeper.pull_ended(ended),
            Some(moved) = keeper.moves.join_next() => keeper.moved(moved),
            _ = looks.tick(), if count > 1 => keeper.look().await,
        }
    }
    draining.cancel();
    if result.is_err() {
        keeper.abandon.cancel();
    }
    while keeper.pulls.join_next().await.is_some() {}
    result
}

impl Keeper<'_> {
    fn served(&self, place: usize) -> &Arc<Served> {
        &self.worker.models.all()[place]
    }

    /// Looks what waits, and moves who is to be moved.
    async fn look(&mut self) {
        let models = &self.worker.models;
        let Ok(Ok(overview)) = tokio::time::timeout(PATIENCE, self.worker.broker.overview()).await
        else {
            return; // the queue is away, which others say
        };
        let now = Instant::now();
        for (place, served) in models.all().iter().enumerate() {
            let names = served.names();
            let waits = overview.queues.iter().any(|queue| {
                names.contains(&queue.model) && !queue.paused && queue.queued.iter().any(|n| *n > 0)
            });
            let mut at = served.place();
            let is_in = at.state == ModelState::Loaded;
            if is_in && (waits || served.running() > 0) {
                at.used = now;
            }
            let since = &mut self.waiting[place];
            *since = if waits && !is_in { since.or(Some(now)) } else { None };
        }
        let views: Vec<View> = (0..models.all().len()).map(|place| self.view(place, now)).collect();
        match swap::next(&views, models.budget, models.turn) {
            Step::Wait => {}
            Step::Load(place) => self.load(place),
            Step::Unload(places) => places.into_iter().for_each(|place| self.leave(place)),
        }
    }

    fn view(&self, place: usize, now: Instant) -> View {
        let served = self.served(place);
        let at = served.place();
        let stage = match at.state {
            ModelState::Unloaded | ModelState::Failed => Stage::Out,
            ModelState::Loading | ModelState::Unloading => Stage::Moving,
            ModelState::Loaded => Stage::In {
                age: now - at.since,
                unused: now - at.used,
                // So that no more time goes into loading than into work.
                turn: self.worker.models.turn.max(at.took.unwrap_or_default()),
            },
        };
        // What can't be loaded now is not what others make room for; and tasks that another worker is just
        // about to take are no reason to load.
        let waiting = self.waiting[place]
            .map(|since| now - since)
            .filter(|waiting| *waiting >= LOOK / 2 && at.state == ModelState::Unloaded);
        View { need: served.need, stage, waiting }
    }

    /// Begins to load a model.
    fn load(&mut self, place: usize) {
        let served = self.served(place).clone();
        served.set_state(ModelState::Loading);
        self.moves.spawn_blocking(move || (place, Moved::In(served.load())));
    }

    /// Tells a model to end what it has.
    fn leave(&mut self, place: usize) {
        let served = self.served(place);
        tracing::info!(
            target: "worker.model",
            "{} makes room: {} tasks run to their end", served.id, served.running()
        );
        served.set_state(ModelState::Unloading);
        self.leave[place].cancel();
    }

    /// Has a model's tasks claimed.
    fn pull(&mut self, place: usize, engine: Engine) {
        let until = self.until(place);
        let (worker, served) = (self.worker.clone(), self.served(place).clone());
        self.pulls.spawn(async move { (place, pull::run(&worker, &served, engine, until).await) });
    }

    /// Has a model's tasks claimed and told what is wrong with it.
    fn refuse(&mut self, place: usize, problem: TaskError) {
        let until = self.until(place);
        let (worker, served) = (self.worker.clone(), self.served(place).clone());
        self.pulls.spawn(async move {
            refuse::run(&worker, served.names(), &problem, RETRY, until).await;
            (place, Ok(()))
        });
    }

    fn until(&mut self, place: usize) -> Until {
        self.leave[place] = CancellationToken::new();
        Until {
            shutdown: self.shutdown.clone(),
            draining: self.worker.running.draining().clone(),
            leave: self.leave[place].clone(),
            abandon: self.abandon.child_token(),
        }
    }

    /// A model claims no more, and runs nothing more.
    fn pull_ended(
        &mut self,
        ended: Result<(usize, Result<(), WorkerError>), JoinError>,
    ) -> Result<(), WorkerError> {
        let (place, result) = ended.map_err(|error| {
            tracing::error!(target: "worker.model", "claiming broke off: {error}");
            WorkerError::EngineStopped
        })?;
        result?;
        let served = self.served(place).clone();
        let Some(engine) = served.place().engine.take() else {
            served.set_state(ModelState::Unloaded); // it could not be loaded; the next may
            return Ok(());
        };
        self.moves.spawn(async move {
            pulse::stop(&engine).await;
            // The last handle: with it go weights, keys and values.
            let _ = tokio::task::spawn_blocking(move || drop(engine)).await;
            (place, Moved::Out)
        });
        Ok(())
    }

    /// A model came in, or is out.
    fn moved(&mut self, moved: Result<(usize, Moved), JoinError>) {
        let (place, moved) = match moved {
            Ok(moved) => moved,
            Err(error) => {
                tracing::error!(target: "worker.model", "a model's move broke off: {error}");
                return;
            }
        };
        let served = self.served(place).clone();
        match moved {
            Moved::In(Ok((engine, took))) => {
                served.loaded((engine.clone(), took));
                self.pull(place, engine);
            }
            Moved::In(Err(error)) => {
                let problem = served.failed(&error);
                tracing::error!(
                    target: "worker.model",
                    "{}; its tasks fail for {} s, then it is tried again", problem.message, RETRY.as_secs()
                );
                self.refuse(place, problem);
            }
            Moved::Out => {
                served.set_state(ModelState::Unloaded);
                tracing::info!(target: "worker.model", "{} is out of memory's way", served.id);
            }
        }
    }
}

/// Ends the engines of all that are in memory.
pub(crate) async fn stop(models: &Models) {
    for served in models.all() {
        if let Some(engine) = served.engine() {
            pulse::stop(&engine).await;
        }
    }
}
