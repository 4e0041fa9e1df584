//! Changeover replaces the running container of an app by a newer version while
//! visitors watch a page instead of an error.
//!
//! This is the architecture, in the order of an update. Each part's own text says
//! more. Words mean one thing each: the *app* is a container's name, *old* and *new*
//! are the two containers behind it, the *helper* does the work, the *plan* says
//! what, *facts* are what the engine reports, a *step* is one engine call with its
//! way back, the *page* is what visitors see meanwhile, the *hand-over* puts it on
//! the app's port, the *gate* is the proof of health, to *condemn* is to give new up,
//! the *commit* is the removal of old, the *outcome* is how it ended.
//!
//! # Ask
//!
//! [`launch`] looks at everything that can be refused, fetches the image and fixes the
//! [`plan`], while the app still serves. [`successor`] makes the create request of new
//! from old as raw JSON, so that nothing is lost which we have never heard of. What
//! inspect doesn't show, files that the container wrote into itself, is looked for as
//! well: it is carried over, or refuses. The old version is asked how it answers
//! ([`gate::probe`]): new must answer as well, wherever old did, and needs not where it
//! didn't. A Compose file that would undo the update is named by its line. Who asks from
//! inside a container says `self`: [`identity`] proves which one that is, and guesses
//! nothing.
//!
//! # Helper
//!
//! A container on the host's network, made `FROM scratch` out of this very binary
//! where nobody names an image. The plan is in its labels, which Docker fixes at
//! creation: it is there whole or not at all. Its name, `<app>.changeover`, is the
//! lock. Its restart policy is `always`, so that it is the way back after a crash of
//! anything; Docker's auto-remove would take the plan away at the first engine
//! restart. It starts in [`helper`].
//!
//! # Swap
//!
//! [`swap`] is a loop: observe, decide, act, one engine call at a time. There is no
//! journal, since a second record of progress would have to be kept equal to the
//! first. Progress is names, states and restart policies of two containers. The
//! verdict is one rename, of new to `<app>.failed`; the commit is one removal. While
//! old exists there is a way back, once it is gone there is only forward. What can
//! happen in between is walked through exhaustively by the model test.
//!
//! **New is compared with old before old is touched.** [`successor::differences`] reads
//! the two inspect documents and explains each difference: by the images, by what is
//! pinned on purpose, by the set. What it can't explain condemns new. It knows nothing
//! of how the create request was made, so it finds our mistakes as well as the engine's.
//! `check` shows the same comparison with what is predicted of new.
//!
//! **Who comes back after a power cut** is decided by restart policies. Old is armed
//! (`always`) from before it is stopped until just before new starts, so a cut in between
//! brings back a version that works even without us. From there old is `no`, since new may
//! have touched the data, and the helper alone decides: a new one that went down with the
//! engine is started once more. The helper knows that it was the engine, since that counts
//! the restarts of a container (here, its own) from zero when it comes back. New is
//! created with `no` and gets the app's own policy once it has proved itself. Never are
//! two armed at once: at boot it would be a coin flip who gets the port.
//!
//! **New is known by a label**, `io.changeover.update`, not by its name, which anybody
//! may change. A second label, `io.changeover.record`, holds the plan without the
//! create request. It stays on the container: from it a lost helper is replaced
//! (`resume`), the outcome is told (`status`), and the version before is found
//! (`rollback`), with no state outside the engine. The next update drops both.
//!
//! **Visitors leave the page before the commit.** Once the gate hears new answer, the
//! page is gone; old is kept for another moment ([`plan::GatePlan::stable_seconds`])
//! against the version that answers once and then falls over.
//!
//! **What a person does on purpose stands.** Old started by hand is a rollback, and so is
//! a new one removed or renamed to `<app>.failed`; a helper stopped or removed stays so
//! until `resume`. Names and policies are put right, since without them nobody finds the
//! way.
//!
//! # Data
//!
//! Where the plan says so, [`backup`] keeps what the app may write to: a first pass while
//! it serves, before anything is created; a second one once old is stopped, which finds
//! only what has changed. In between, still before anything is created, the app may be
//! made to flush what it holds ([`backup::hook`]). It is put back on the way back,
//! whenever new may have run, and before old is armed: at a power cut old must not come up
//! by itself on data of new's. That old is armed, on the way back, therefore means that
//! its data is its own. A helper that was killed backs up or puts back once more; so that
//! it never overwrites what old has written since, a snapshot names the starts of the old
//! containers that it was taken after, and is put back as long as these are their last
//! ones. For the same reason a new version that fell with the engine is started again only
//! while that is so: where somebody has started old in between, the data is old's, without
//! a snapshot, and old stays.
//!
//! What people do with backups, `changeover backup`, is an [`errand`](backup::errand) of a
//! container of its own: the backups are on the engine's host, which may be elsewhere.
//!
//! # Hand-over
//!
//! Who answers on the app's port is not a step but a consequence: before every call
//! [`handover::Switch`] is set to what the facts ask for. A redirect by nftables is the
//! default: the engine keeps the port, nothing conflicts, and the kernel takes the rules
//! away with our process. Where that is not possible the port is bound while no container
//! holds it, and let go before any start. Our own probes carry a socket mark and see the
//! published port while visitors see the page. The kernel remembers connections for longer
//! than they last, with the way that each took: those that are no more it is made to
//! forget at each change, or the next visitor from the same port would take that way, past
//! the rules. An app in another container's network is asked at that one's address, and
//! its page stands before those of that one's ports which are the app's
//! ([`plan::Published::lent`]); they are never free.
//!
//! # Gate
//!
//! [`gate`] asks new itself, by its own address, then runs its HEALTHCHECK command
//! (the engine would wait for an interval first), then visits the published ports.
//! Its time limit counts from the container's start, so a restarted helper grants no
//! fresh one; where we saw new start, a clock that somebody moves takes none away. On the
//! host's network the HEALTHCHECK waits until the page is gone, which would answer it.
//!
//! # Page
//!
//! [`page`] serves `maintenance-ui/`: 503 on every path and method, JSON for machines,
//! [`status`] and an event stream under `/.changeover/`. It knows nothing of the engine;
//! what an anonymous visitor must not see isn't there. Where the app speaks TLS, the page
//! does with the app's [`certificate`], which never travels: the helper reads it. It has
//! threads of its own, for half of the processors: no crowd holds up the swap.
//!
//! # Stand down
//!
//! Updated: the helper deletes itself, and whoever followed it clears its image away.
//! Rolled back: it gives up its own policy and exits, so that its log and exit code
//! stay readable until the next update or `gc`. A failed version that Compose would
//! count is removed then, its log kept in the helper's.
//!
//! # Tell
//!
//! Before it stands down, the helper tells how it ended: [`account`] is made of its own
//! events, be they of a run before it was killed. [`history`] appends it to a file that
//! the app or its operator has named, [`notify`] posts it to the version that serves,
//! signed with a key that only the place of a file is known of. Both at least once,
//! neither of them worth an update. [`available`] is the other end: what is new, by
//! registries and forges, over [`http`].
//!
//! # Sets
//!
//! A plan has members, in the order of their start, and the table is walked phase by
//! phase, in each phase member by member. One container is the set of size one. The
//! first member leads: its verdict and its commit are the set's. The launch brings
//! along whoever lives in the app's namespaces, is linked to it or takes its volumes,
//! recreated on its own image and tied to the new ids.
//!
//! # Where things are
//!
//! [`engine`] is the only place that names bollard or the socket; which engine it is, it
//! finds out as `docker` does. [`events`] go from the helper's standard output, by way of
//! [`follow`], to whoever waits; [`progress`] turns decisions into events and the page's
//! status. [`cli`] is the program, [`config`] the file with its settings.
//!
//! # What is proven, and under which assumptions
//!
//! **The model** (`swap/model.rs`, where the invariants are listed) walks all reachable
//! states of the table, with reboots, crashes of helper and new version, refusals, bad
//! images, a person's rollback and a person's start of old at any time, for all restart
//! policies, for one container and for a set of two, with the data kept and put back. It
//! assumes that
//!
//! - one engine call is atomic, and rename and policy are durable when it returns;
//! - at a boot the engine starts what its documentation says, by restart policies;
//! - an engine that comes back counts restarts from zero, and a crash counts as one.
//!
//! **A thousand updates by the dice** (`seeded.rs`, where the promises are listed) run the
//! whole program against an engine that delays, refuses, cuts, garbles, hangs and
//! restarts, with clocks that jump, helpers dying and people meddling. They assume that an
//! engine carries out what it has left without an answer within ten seconds, and within
//! three what was cut off, by the wire or by the helper's death, as long as it answers every
//! look within half a second: for so long the helper stays when it has gone back, and puts
//! right what comes late. A stop has the app's stop time on top of that, if there may be one,
//! until old is seen down after that; for this, old is started again when none can begin any
//! more, where that is a matter of these three seconds. What was never sent isn't waited
//! for, nor what the next look shows as done.
//!
//! **The engine suite** checks the assumptions on real engines: it cuts the wire at every
//! call, kills helper and engine in and after every step, cuts the power, fills the disk,
//! takes ports, names, networks and images away, and lets people interfere. Which case is
//! for which fault:
//!
//! | fault | where |
//! |---|---|
//! | the helper: SIGKILL, SIGTERM, `docker rm -f` | `crashes/helper.rs` |
//! | the helper: its own code crashes, or it stands still while time goes on | `crashes/helper.rs` |
//! | the helper: killed by the kernel, out of memory | `crashes/helper.rs` |
//! | the helper: a panic of ours, that unwinds all the way out | `seeded.rs` |
//! | the same in the answer to a visitor: that one has none | `page/tests/ending.rs` |
//! | the same outside of any answer: the helper begins anew | `page/tests/ending.rs` |
//! | the engine: SIGKILL, SIGTERM, power cut, `live-restore`, a stale socket | `crashes/engine.rs` |
//! | the engine: back from a kill in a start, with a port that it has lost track of | `crashes/engine.rs`, `seeded.rs` |
//! | the same, with a process that it knows nothing of | `crashes/engine.rs`, `seeded.rs` |
//! | the engine: killed while it removes the helper, which stays `dead` | `crashes/engine.rs` |
//! | answers that are late, cut, garbled, refused or never come | `crashes/wire.rs`, `seeded.rs` |
//! | a wall clock that jumps: a machine has only one, so nowhere but | `seeded.rs` |
//! | a full disk; port, name, network or image taken away; people, other updaters | `crashes/by_hand.rs` |
//! | a disk that is too full before anything is touched | `commands/refusals.rs` |
//! | data: killed or out of room at each write of a pass, a restore or a clearing | `backup/tests/interrupted.rs` |
//! | the same with an engine, and with real databases under load | `data.rs`, `data/database.rs`, `data/postgres.rs` |
//! | data: helper, engine or machine gone anywhere in a backup or a restore, by the dice | `data/interrupted.rs` |
//! | the command that follows: killed, or its own wire cut | `crashes/by_hand.rs`, `crashes/launch.rs` |
//!
//! **What a start needs once more.** Docker 28, killed in the middle of a container's start,
//! leaves that one's process behind. The next start ends it, and the engine takes this end
//! for that of the process which it has started since: the container runs on none of its
//! networks, or has been killed, as it seems; and where its restart policy starts it again,
//! that goes on for ever. So new isn't given up for that, and old isn't left to it: both are
//! started anew, for once under the policy `no` (`swap/run/disorder.rs`), and old is watched
//! for a moment if the engine has started it by itself.
//!
//! **Where a person has to restart the engine.** Docker up to 26.1 at least, killed in the
//! middle of a container's start (or left without power), may come back with that one's port
//! allocated, and held by a `docker-proxy`, for nobody: it writes the ports down before it
//! writes down whose they are. From then on it refuses every start of a container with this
//! port. No call makes it let go; its restart does. Until then visitors have the page, a
//! person is called after some ten seconds (`status` says for what), and the helper stays:
//! old is armed, comes back with the engine, and the helper ends what is left.
//!
//! There is a way around, and it isn't taken. Old could be taken off its own networks, be
//! started on a network whose driver publishes nothing, and be put back on its own while it
//! runs, with the helper carrying all visitors until the engine's next restart. (To add such
//! a network isn't enough: the engine joins the default one first and fails there, and a
//! failed start costs the container the added one.) That rewrites the networks of the only
//! version that works, starts it without those that it needs, and has an engine that dies
//! once more bring it up without them: all that for a fault that a restart mends.
//!
//! Not proven: what an engine does that loses its own files, and disks that stay full.

pub mod account;
pub mod available;
pub mod backup;
pub mod certificate;
pub mod cli;
mod clock;
pub mod config;
pub mod engine;
pub mod events;
pub mod face;
pub mod follow;
#[cfg(test)]
mod fuzzed;
pub mod gate;
pub mod handover;
pub mod helper;
pub mod history;
pub mod http;
pub mod identity;
pub mod launch;
pub mod notify;
pub mod page;
pub mod place;
pub mod plan;
pub mod progress;
#[cfg(test)]
mod seeded;
pub mod status;
pub mod successor;
pub mod swap;
