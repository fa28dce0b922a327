//! A real Redis Cluster for tests: three `redis-server` processes that share the slots.

use std::time::Duration;

use crate::redis::RedisServer;
use crate::{free_port, wait_for};

/// The slots of each node. The hash tags {2}, {1} and {0} of the queue's first partitions are in
/// slots 5649, 9842 and 13907, one on each node.
const SLOTS: [(u16, u16); 3] = [(0, 7_000), (7_001, 12_000), (12_001, 16_383)];

/// How long a node may be silent before the others consider it dead, in ms.
const NODE_TIMEOUT: &str = "1000";

/// A cluster of three nodes. Tests may add replicas.
pub struct RedisCluster {
    /// The nodes, in the order of their slots, then the replicas.
    pub nodes: Vec<RedisServer>,
    /// The nodes' addresses.
    addresses: Vec<Address>,
    /// The settings of each node.
    settings: Vec<String>,
}

/// The ports of a node: for clients, and for the cluster bus.
struct Address {
    /// The scheme of the node's URL.
    scheme: &'static str,
    port: u16,
    bus: u16,
}

impl RedisCluster {
    /// Starts a cluster without persistence. Takes two seconds, since a new node waits that long
    /// before it serves.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a cluster whose nodes append every write to a file.
    ///
    /// # Panics
    /// If it does not start.
    pub fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "everysec"])
    }

    /// Starts a cluster with further settings. With a certificate among them, nodes and clients use
    /// TLS.
    ///
    /// # Panics
    /// If it does not start.
    pub fn with(settings: &[&str]) -> Self {
        let nodes = SLOTS.map(|_| start_node(settings));
        let (nodes, addresses): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
        for (nth, (node, (first, last))) in nodes.iter().zip(SLOTS).enumerate() {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(nth + 1).to_string()]);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            addresses.iter().take(nth).for_each(|other| other.meet(node));
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let cluster = Self { nodes, addresses, settings };
        cluster.wait_until_all_slots_served();
        cluster
    }

    /// Adds a replica of the node at `place` and waits until it is in sync.
    ///
    /// # Panics
    /// If that takes more than 20 seconds.
    pub fn add_replica_of(&mut self, place: usize) {
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        let (replica, _) = start_node(&settings);
        self.addresses[0].meet(&replica);
        let master = self.nodes[place].command(&["CLUSTER", "MYID"]);
        wait_for("the replica to know its master", Duration::from_secs(20), || {
            replica.command(&["CLUSTER", "NODES"]).contains(&master).then_some(())
        });
        replica.command(&["CLUSTER", "REPLICATE", &master]);
        self.nodes.push(replica);
        self.wait_until_replicated(place);
        self.wait_until_all_slots_served();
    }

    /// Waits until the replica added last has all data of the node at `place`.
    ///
    /// # Panics
    /// If that takes more than 20 seconds.
    pub fn wait_until_replicated(&self, place: usize) {
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

    /// Waits until every node serves and knows the owner of every slot.
    ///
    /// # Panics
    /// If that takes more than 20 seconds.
    pub fn wait_until_all_slots_served(&self) {
        for node in &self.nodes {
            wait_for("the Cluster", Duration::from_secs(20), || {
                let info = node.command(&["CLUSTER", "INFO"]);
                let is = |line: &str| info.lines().any(|known| known.trim() == line);
                (is("cluster_state:ok") && is("cluster_slots_ok:16384")).then_some(())
            });
        }
    }

    /// Returns the URLs of the first nodes, separated by commas.
    pub fn url(&self) -> String {
        let urls = self.addresses.iter();
        let urls = urls.map(|Address { scheme, port, .. }| format!("{scheme}://127.0.0.1:{port}"));
        urls.collect::<Vec<_>>().join(",")
    }

    /// The first nodes' URLs for a user that may do what docs/OPERATING.md says for a Cluster.
    ///
    /// # Panics
    /// If a node does not take the rule.
    pub fn user(&self, name: &str) -> String {
        let urls = self.addresses.iter().zip(&self.nodes).map(|(address, node)| {
            let url = node.user(name, &["+asking"]);
            let (user, _) = url.trim_start_matches("redis://").split_once('@').expect("a user");
            format!("{}://{user}@127.0.0.1:{}", address.scheme, address.port)
        });
        urls.collect::<Vec<_>>().join(",")
    }

    /// Deletes all data.
    ///
    /// # Panics
    /// If a node does not answer.
    pub fn flush(&self) {
        for node in &self.nodes {
            node.command(&["FLUSHALL"]);
        }
    }

    /// Runs a command on the node that owns its key and returns the reply.
    ///
    /// # Panics
    /// If there is no reply.
    pub fn command(&self, words: &[&str]) -> String {
        let redirected = [&["-c"], words].concat();
        self.nodes[0].command(&redirected)
    }
}

/// Starts a node that knows no other node yet.
fn start_node(settings: &[&str]) -> (RedisServer, Address) {
    let (bus, tls_port) = (free_port(), free_port());
    let (bus_text, tls_text) = (bus.to_string(), tls_port.to_string());
    let mut all = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT];
    // The remaining slots must be served when a node is lost.
    all.extend(["--cluster-require-full-coverage", "no", "--cluster-port", &bus_text]);
    let tls = settings.contains(&"--tls-cert-file");
    if tls {
        // With `tls-cluster`, the port that nodes announce for the bus is the TLS port.
        all.extend(["--tls-port", &tls_text, "--tls-cluster", "yes", "--tls-replication", "yes"]);
    }
    all.extend(settings);
    let server = RedisServer::with(&all);
    let (scheme, port) = if tls { ("rediss", tls_port) } else { ("redis", server.port()) };
    (server, Address { scheme, port, bus })
}

impl Address {
    /// Makes this node and `node` join.
    fn meet(&self, node: &RedisServer) {
        let (port, bus) = (self.port.to_string(), self.bus.to_string());
        node.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    }
}
