//! The Lua scripts, one per operation; each file's header says what it takes and returns.

use redis::Script;

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident: $flags:literal),+ $(,)?) => {
        /// All scripts, ready to run.
        #[derive(Debug)]
        pub(crate) struct Scripts {
            $($(#[$doc])* pub(crate) $name: Script,)+
        }

        impl Scripts {
            pub(crate) fn new() -> Self {
                Self {
                    $($name: Script::new(concat!(
                        "#!lua flags=", $flags, "\n",
                        include_str!("scripts/lib.lua"),
                        include_str!(concat!("scripts/", stringify!($name), ".lua")),
                    )),)+
                }
            }
        }
    };
}

// With `allow-oom` a script runs although Redis is at `maxmemory`. Only what brings new work in is
// refused then; what moves tasks to their end must go on, or nothing would ever free memory.
// Redis refuses the others before their first write, so nothing is left half done.
scripts! {
    agree: "allow-oom",
    submit: "",
    estimate: "no-writes",
    claim: "allow-oom",
    renew: "allow-oom",
    publish: "",
    finish: "allow-oom",
    release: "allow-oom",
    cancel: "allow-oom",
    reap: "allow-oom",
    report_worker: "allow-oom",
    workers: "no-writes",
    forget_worker: "allow-oom",
}
