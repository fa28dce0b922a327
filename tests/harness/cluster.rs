//! A real Redis Cluster for a test: three `redis-server` processes that share the slots.

use std::time::Duration;

use crate::redis::RedisServer;
use crate::{free_port, wait_for};

/// Who has which slots. The tags {2}, {1} and {0} of the queue's first partitions are in slots
/// 5649, 9842 and 13907: one for each node.
const SLOTS: [(u16, u16); 3] = [(0, 7_000), (7_001, 12_000), (12_001, 16_383)];

/// How long a node may be silent before the others take it for dead, in ms.
const NODE_TIMEOUT: &str = "1000";

/// Three nodes; replicas only as a test adds them.
pub struct RedisCluster {
    /// The nodes, in the order of their slots, then the replicas.
    pub nodes: Vec<RedisServer>,
    /// What each is started with.
    settings: Vec<String>,
    /// Where the first one hears the others.
    bus: String,
}

impl RedisCluster {
    /// Starts one that forgets everything when it ends. Takes two seconds: a node that was just
    /// started waits so long before it serves.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one whose nodes append every write to a file.
    ///
    /// # Panics
    /// When it does not start.
    pub fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "everysec"])
    }

    fn with(settings: &[&str]) -> Self {
        let (nodes, buses): (Vec<_>, Vec<_>) =
            SLOTS.map(|_| start_node(settings)).into_iter().unzip();
        for (nth, (node, (first, last))) in nodes.iter().zip(SLOTS).enumerate() {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(nth + 1).to_string()]);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            for (other, bus) in nodes.iter().zip(&buses).take(nth) {
                meet(node, other, bus);
            }
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let bus = buses.into_iter().next().unwrap_or_default();
        let cluster = Self { nodes, settings, bus };
        cluster.wait_until_whole();
        cluster
    }

    /// Adds a node that repeats the one at `place`, and waits until it has all that is there.
    ///
    /// # Panics
    /// When that takes more than 20 seconds.
    pub fn add_replica_of(&mut self, place: usize) {
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        let (replica, _) = start_node(&settings);
        meet(&replica, &self.nodes[0], &self.bus);
        let master = self.nodes[place].command(&["CLUSTER", "MYID"]);
        wait_for("the replica to know its master", Duration::from_secs(20), || {
            replica.command(&["CLUSTER", "NODES"]).contains(&master).then_some(())
        });
        replica.command(&["CLUSTER", "REPLICATE", &master]);
        self.nodes.push(replica);
        self.wait_until_repeated(place);
        self.wait_until_whole();
    }

    /// Waits until the replica that was added last has all that the node at `place` has.
    ///
    /// # Panics
    /// When that takes more than 20 seconds.
    pub fn wait_until_repeated(&self, place: usize) {
        let replication = |node: &RedisServer| node.command(&["INFO", "replication"]);
        let offset = |info: &str, name: &str| {
            info.lines().find_map(|line| line.trim().strip_prefix(name).map(str::to_owned))
        };
        let replica = self.nodes.last().expect("there are nodes");
        wait_for("the replica", Duration::from_secs(20), || {
            let (here, there) = (replication(replica), replication(&self.nodes[place]));
            let has = offset(&here, "slave_repl_offset:")?;
            (here.contains("master_link_status:up")
                && Some(has) == offset(&there, "master_repl_offset:"))
            .then_some(())
        });
    }

    /// Waits until every node serves and knows who has all the slots.
    ///
    /// # Panics
    /// When that takes more than 20 seconds.
    pub fn wait_until_whole(&self) {
        for node in &self.nodes {
            wait_for("the Cluster", Duration::from_secs(20), || {
                let info = node.command(&["CLUSTER", "INFO"]);
                let is = |line: &str| info.lines().any(|known| known.trim() == line);
                (is("cluster_state:ok") && is("cluster_slots_ok:16384")).then_some(())
            });
        }
    }

    /// All nodes' URLs.
    pub fn url(&self) -> String {
        self.nodes.iter().map(RedisServer::url).collect::<Vec<_>>().join(",")
    }

    /// Forgets all data.
    ///
    /// # Panics
    /// When a node does not answer.
    pub fn flush(&self) {
        for node in &self.nodes {
            node.command(&["FLUSHALL"]);
        }
    }

    /// Runs a command at the node that has its key.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn command(&self, words: &[&str]) -> String {
        let redirected = [&["-c"], words].concat();
        self.nodes[0].command(&redirected)
    }
}

/// A node that knows no other yet, and the port of its bus.
fn start_node(settings: &[&str]) -> (RedisServer, String) {
    let bus = free_port().to_string();
    let mut all = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT];
    // What a lost node has not must go on.
    all.extend(["--cluster-require-full-coverage", "no", "--cluster-port", &bus]);
    all.extend(settings);
    (RedisServer::with(&all), bus)
}

/// Introduces a node to another, whose bus is at this port.
fn meet(node: &RedisServer, other: &RedisServer, bus: &str) {
    node.command(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), bus]);
}
