//! The runtime of a simulation: one thread, and a time that passes only when nothing else happens.
//!
//! tokio's paused time jumps to the next timer whenever no task is ready, even while a socket still
//! has bytes to read, so timeouts would fire at random. Here it jumps only after the sockets were
//! found empty several times in a row as well. It must not know what runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// How often in a row the sockets have to be found empty. A request needs at most half as many looks to
/// get from one end of a socket to the other.
const LOOKS: u32 = 12;

/// Knows how often in a row the sockets were found empty.
#[derive(Clone, Default)]
pub(super) struct Quiet(Arc<Looks>);

#[derive(Default)]
struct Looks {
    empty: AtomicU32,
    again: Notify,
}

impl Quiet {
    /// Begins to count again, because something arrived or left.
    pub(super) fn disturb(&self) {
        self.0.empty.store(0, Ordering::Relaxed);
    }

    /// Builds the runtime; `pause` has to start it with its time paused.
    pub(super) fn runtime(&self, pause: &dyn Fn(&mut Builder)) -> Runtime {
        let looks = Arc::clone(&self.0);
        let mut builder = Builder::new_current_thread();
        builder.enable_all().on_thread_park(move || {
            // A woken task makes the runtime look at its sockets instead of jumping in time.
            if looks.empty.fetch_add(1, Ordering::Relaxed) < LOOKS {
                looks.again.notify_one();
            } else {
                looks.empty.store(0, Ordering::Relaxed);
            }
        });
        pause(&mut builder);
        let runtime = builder.build().unwrap();
        let looks = Arc::clone(&self.0);
        runtime.spawn(async move {
            loop {
                looks.again.notified().await;
            }
        });
        runtime
    }
}
