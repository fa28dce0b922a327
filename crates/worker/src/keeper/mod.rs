//! Loads and unloads models as their tasks arrive, and claims each model's tasks while it is in
//! memory.
//!
//! ```text
//! every half second: waiting tasks (queue) ─▶ swap::next ─┬─ load ─▶ on its own thread ─▶ pull
//!                                                         └─ unload ─▶ pull stops claiming, finishes its
//!                                                                      tasks ─▶ memory is freed
//! ```
//!
//! No task is claimed before its model is loaded, so a worker that dies during a load holds none.
//! Loading never runs on the threads that renew leases.

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

/// The interval at which the waiting tasks are checked.
const LOOK: Duration = Duration::from_millis(500);
/// Maximum wait for the queue's answer. Without one, nothing changes.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause before a model that failed to load is tried again; its tasks fail meanwhile.
const RETRY: Duration = Duration::from_secs(60);

/// The result of a load or an unload.
enum Moved {
    In(Result<(Engine, Duration), LoadError>),
    Out,
}

/// Manages a worker's models.
struct Keeper<'a> {
    worker: &'a Arc<Worker>,
    shutdown: &'a CancellationToken,
    /// Cancelled to make attempts return their tasks to the queue.
    abandon: CancellationToken,
    /// Per model: cancelled to make its pull loop stop claiming.
    leave: Vec<CancellationToken>,
    /// Per model: since when its tasks have waited while it was not in memory.
    waiting: Vec<Option<Instant>>,
    /// The pull loops of the models whose tasks are claimed.
    pulls: JoinSet<(usize, Result<(), WorkerError>)>,
    /// The loads and unloads in progress.
    moves: JoinSet<(usize, Moved)>,
}

/// Manages the worker's models until `shutdown` or an operator's order to drain, then drains.
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
            Some(ended) = keeper.pulls.join_next() => result = keeper.handle_ended_pull(ended),
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

    /// Checks the waiting tasks, and starts loads and unloads.
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
                // At least the load time, so that loading never takes more time than working.
                turn: self.worker.models.turn.max(at.took.unwrap_or_default()),
            },
        };
        // Ignores models that cannot be loaded now, since others should not be unloaded for them,
        // and tasks that have waited so briefly that another worker may be about to claim them.
        let waiting = self.waiting[place]
            .map(|since| now - since)
            .filter(|waiting| *waiting >= LOOK / 2 && at.state == ModelState::Unloaded);
        View { need: served.need, stage, waiting }
    }

    /// Starts loading a model.
    fn load(&mut self, place: usize) {
        let served = self.served(place).clone();
        served.set_state(ModelState::Loading);
        self.moves.spawn_blocking(move || (place, Moved::In(served.load())));
    }

    /// Asks a model's pull loop to finish its tasks and end.
    fn leave(&mut self, place: usize) {
        let served = self.served(place);
        tracing::info!(
            target: "worker.model",
            "{} makes room: {} tasks run to their end", served.id, served.running()
        );
        served.set_state(ModelState::Unloading);
        self.leave[place].cancel();
    }

    /// Starts claiming a model's tasks.
    fn pull(&mut self, place: usize, engine: Engine) {
        let until = self.until(place);
        let (worker, served) = (self.worker.clone(), self.served(place).clone());
        self.pulls.spawn(async move { (place, pull::run(&worker, &served, engine, until).await) });
    }

    /// Starts claiming a model's tasks to fail them with `problem`.
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

    /// Handles the end of a pull loop, after which the model has no running tasks.
    fn handle_ended_pull(
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
            // Drops the last handle, which frees weights and KV memory.
            let _ = tokio::task::spawn_blocking(move || drop(engine)).await;
            (place, Moved::Out)
        });
        Ok(())
    }

    /// Handles the end of a load or an unload.
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

/// Stops the engines of all models in memory.
pub(crate) async fn stop(models: &Models) {
    for served in models.all() {
        if let Some(engine) = served.engine() {
            pulse::stop(&engine).await;
        }
    }
}
