//! Reads and changes a store directly, without the broker.

use std::time::Duration;

use harness::redis::RedisServer;
use protocol::{TaskId, Timestamp};

use super::{Fixture, Store, plain_connection};

impl Fixture {
    /// Replaces a task's stored record behind the broker's back.
    pub(crate) async fn overwrite_record(&self, id: TaskId, record: &str) {
        match &self.store {
            Store::Redis(server, _) => {
                let mut connection = plain_connection(server).await;
                let key = format!("qq:{{0}}:task:{id}");
                let set = redis::cmd("HSET").arg(key).arg("record").arg(record).to_owned();
                set.exec_async(&mut connection).await.unwrap();
            }
            Store::Cluster(cluster, partitions) => {
                let key = (0..*partitions).map(|number| format!("qq:{{{number}}}:task:{id}"));
                let key = key.into_iter().find(|key| cluster.command(&["EXISTS", key]) == "1");
                cluster.command(&["HSET", &key.unwrap(), "record", record]);
            }
            Store::Sqlite(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
                let set = "UPDATE tasks SET record = ?2 WHERE id = ?1";
                assert_eq!(
                    file.execute(set, rusqlite::params![id.as_uuid().as_bytes(), record]).unwrap(),
                    1
                );
            }
        }
    }

    /// Replaces an ended task's stored outcome behind the broker's back.
    pub(crate) async fn overwrite_outcome(&self, id: TaskId, outcome: &str) {
        match &self.store {
            Store::Redis(..) | Store::Cluster(..) => {
                let key = self.task_key(id);
                let text = self.cli(&["GET", &key]);
                let mut lines: Vec<&str> = text.lines().collect();
                lines[1] = outcome;
                self.cli(&["SET", &key, &lines.join("\n"), "KEEPTTL"]);
            }
            Store::Sqlite(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
                let set = "UPDATE tasks SET outcome = ?2 WHERE id = ?1";
                assert_eq!(
                    file.execute(set, rusqlite::params![id.as_uuid().as_bytes(), outcome]).unwrap(),
                    1
                );
            }
        }
    }

    /// Lets what the journal waits for be over so much sooner.
    pub(crate) async fn age_journal(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        match &self.store {
            Store::Redis(..) | Store::Cluster(..) => {
                for base in self.bases() {
                    let key = format!("{base}unlogged");
                    let list = self.cli(&["ZRANGE", &key, "0", "-1"]);
                    for id in list.lines().filter(|id| !id.is_empty()) {
                        self.cli(&["ZINCRBY", &key, &(-by).to_string(), id]);
                    }
                }
            }
            Store::Sqlite(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
                let set = "UPDATE tasks SET unlogged = max(unlogged - ?1, 1) WHERE unlogged > 0";
                file.execute(set, [by]).unwrap();
            }
        }
    }

    /// Lets blobs expire, uploads take too long and doomed bytes become due so much sooner.
    pub(crate) async fn age_blobs(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        match &self.store {
            Store::Redis(..) | Store::Cluster(..) => {
                for base in self.bases() {
                    for name in ["due", "uploads", "doomed"] {
                        let key = format!("{base}blobs:{name}");
                        for member in self.cli(&["ZRANGE", &key, "0", "-1"]).lines() {
                            if !member.is_empty() {
                                self.cli(&["ZINCRBY", &key, &(-by).to_string(), member]);
                            }
                            if name == "due" && !member.is_empty() {
                                let blob = format!("{base}blob:{member}");
                                self.cli(&["HINCRBY", &blob, "expires", &(-by).to_string()]);
                            }
                        }
                    }
                }
            }
            Store::Sqlite(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
                file.execute("UPDATE blobs SET expires = expires - ?1", [by]).unwrap();
                file.execute("UPDATE blob_uploads SET expires = expires - ?1", [by]).unwrap();
                file.execute("UPDATE doomed_blobs SET due = due - ?1", [by]).unwrap();
            }
        }
    }

    /// Names all places that have bytes, and all that is recorded of blobs.
    pub(crate) async fn traces_of_blobs(&self) -> (Vec<String>, Vec<String>) {
        match &self.store {
            Store::Redis(..) | Store::Cluster(..) => {
                let keys = match &self.store {
                    Store::Cluster(cluster, _) => {
                        cluster.nodes.iter().map(|n| n.command(&["KEYS", "*"])).collect()
                    }
                    _ => vec![self.cli(&["KEYS", "*"])],
                };
                let keys: Vec<&str> = keys.iter().flat_map(|keys| keys.lines()).collect();
                let part = |kind: &str| {
                    let of = keys.iter().filter(|key| key.contains(kind));
                    of.map(|key| (*key).to_owned()).collect::<Vec<_>>()
                };
                (part("}:chunks:"), part("}:blob"))
            }
            Store::Sqlite(folder) => {
                let mut bytes = Vec::new();
                let mut folders = vec![folder.path().join("blobs")];
                while let Some(next) = folders.pop() {
                    for entry in std::fs::read_dir(next).into_iter().flatten() {
                        let path = entry.unwrap().path();
                        if path.is_dir() {
                            folders.push(path);
                        } else {
                            bytes.push(path.display().to_string());
                        }
                    }
                }
                let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
                let mut records = Vec::new();
                for table in ["blobs", "blob_uploads", "doomed_blobs"] {
                    let count = format!("SELECT count(*) FROM {table}");
                    let count: i64 = file.query_row(&count, [], |row| row.get(0)).unwrap();
                    records.extend((0..count).map(|_| table.to_owned()));
                }
                (bytes, records)
            }
        }
    }

    /// Whether the store has this text anywhere, or, of a Cluster, in the task itself.
    pub(crate) async fn stores(&self, id: TaskId, text: &str) -> bool {
        match &self.store {
            Store::Cluster(..) => {
                let key = self.task_key(id);
                let read = if self.cli(&["TYPE", &key]) == "hash" { "HGETALL" } else { "GET" };
                self.cli(&[read, &key]).contains(text)
            }
            _ => self.holds(text).await,
        }
    }

    /// Whether the store has this text anywhere.
    pub(crate) async fn holds(&self, text: &str) -> bool {
        match &self.store {
            Store::Redis(server, _) => server_holds(server, text).await,
            Store::Cluster(cluster, _) => {
                for node in &cluster.nodes {
                    if server_holds(node, text).await {
                        return true;
                    }
                }
                false
            }
            Store::Sqlite(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
                let tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
                let mut tables = file.prepare(tables).unwrap();
                let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
                tables.map(Result::unwrap).any(|table| {
                    let mut rows = file.prepare(&format!("SELECT * FROM {table}")).unwrap();
                    let columns = rows.column_count();
                    let mut rows = rows.query([]).unwrap();
                    let mut found = false;
                    while let Some(row) = rows.next().unwrap() {
                        found |= (0..columns).any(|column| {
                            let value = row.get_ref(column).unwrap();
                            let bytes = value.as_bytes().unwrap_or_default();
                            bytes.windows(text.len()).any(|window| window == text.as_bytes())
                        });
                    }
                    found
                })
            }
        }
    }

    /// For how long it is still known that there was this ended task.
    pub(crate) async fn known_for(&self, id: TaskId) -> Duration {
        match &self.store {
            Store::Redis(..) | Store::Cluster(..) => {
                let text = id.to_string();
                let base = self.task_key(id).replace(&format!("task:{id}"), "");
                let key = format!("{base}gone:{}{}", &text[..8], &text[9..10]);
                // Those of the same seconds share a key: the longest of them decides.
                assert_eq!(self.cli(&["HGET", &key, &text]), "tenant");
                let left: u64 = self.cli(&["TTL", &key]).parse().unwrap();
                Duration::from_secs(left)
            }
            Store::Sqlite(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
                let until = "SELECT expires + max(ttl_ms, ?2) FROM tasks WHERE id = ?1
                             UNION ALL SELECT until FROM tombstones WHERE task = ?1";
                let least = i64::try_from(queue::TOMBSTONE.as_millis()).unwrap();
                let of = (id.as_uuid().into_bytes(), least);
                let until = file.query_row(until, of, |row| row.get::<_, i64>(0));
                let now = i64::try_from(Timestamp::now().as_millis()).unwrap();
                Duration::from_millis(u64::try_from(until.unwrap() - now).unwrap())
            }
        }
    }

    /// Returns the prefix of the keys of each partition.
    fn bases(&self) -> Vec<String> {
        let partitions =
            if let Store::Cluster(_, partitions) = &self.store { *partitions } else { 1 };
        (0..partitions).map(|number| format!("qq:{{{number}}}:")).collect()
    }

    /// Returns the key of a task, which must exist.
    fn task_key(&self, id: TaskId) -> String {
        let mut keys = self.bases().into_iter().map(|base| format!("{base}task:{id}"));
        match &self.store {
            Store::Cluster(cluster, _) => {
                keys.find(|key| cluster.command(&["EXISTS", key]) == "1").expect("the task")
            }
            _ => keys.next().unwrap(),
        }
    }

    /// Returns the reply of Redis to a command, as `redis-cli` prints it.
    fn cli(&self, command: &[&str]) -> String {
        match &self.store {
            Store::Redis(server, _) => server.command(command),
            Store::Cluster(cluster, _) => cluster.command(command),
            Store::Sqlite(_) => panic!("not on Redis"),
        }
    }
}

/// Whether any key of a server, or its name, has this text.
async fn server_holds(server: &RedisServer, text: &str) -> bool {
    // As they are: what is compressed would hide it.
    server.command(&["CONFIG", "SET", "rdbcompression", "no"]);
    let mut connection = plain_connection(server).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    for key in keys {
        let dump = redis::cmd("DUMP").arg(&key).to_owned();
        let bytes: Vec<u8> = dump.query_async(&mut connection).await.unwrap();
        let has = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        if has(&bytes) || has(key.as_bytes()) {
            return true;
        }
    }
    false
}
