//! The steps that change something, one engine call each.

use std::time::Duration;

use serde_json::{Value, json};
use tracing::debug;

use super::super::Call;
use super::super::data::state;
use super::super::facts::{Facts, Sameness};
use super::super::observe::{Observed, update_label};
use super::Runner;
use crate::backup::hook;
use crate::engine::EngineError;
use crate::handover::port_is_free;
use crate::plan::{Plan, labels};

/// How long a container may take to answer those who came before the page did,
/// ahead of its stop signal. The app is away for that long in the worst case.
const SETTLE_LIMIT: Duration = Duration::from_millis(100);

impl Runner<'_> {
    /// Carries out one call that changes something.
    pub(super) async fn act(
        &mut self,
        member: usize,
        call: &Call,
        observed: &Observed,
    ) -> Result<(), EngineError> {
        let plan = &self.plan.members[member];
        match call {
            Call::Create => {
                let body = create_body(self.plan, member);
                self.engine.create(&plan.next_name(), plan.platform.as_deref(), &body).await?;
                self.seen.sameness[member] = Sameness::Unknown;
                self.seen.carried[member] = false;
                Ok(())
            }
            Call::Connect { id, network } => {
                let endpoint = plan.connect.iter().find(|c| &c.network == network);
                let endpoint = endpoint.map(|c| c.endpoint.clone()).unwrap_or(Value::Null);
                self.engine.connect_network(network, id, &endpoint).await
            }
            Call::Carry { from, to } => {
                for path in &plan.carry {
                    self.engine.copy(from, to, path).await?;
                }
                self.seen.carried[member] = true;
                Ok(())
            }
            Call::SetPolicy { id, policy } => self.engine.set_policy(id, policy).await,
            Call::Stop { id } => {
                self.switch.settle(SETTLE_LIMIT).await;
                // It may have written since, if somebody has started it again.
                self.seen.carried[member] = false;
                let tether = self.engine.tether().await.filter(|_| *id == plan.old.id);
                self.engine.stop(id, Duration::from_secs(plan.old.stop_seconds)).await?;
                self.seen.stopped[member] = tether;
                Ok(())
            }
            Call::Start { id } => {
                self.switch.make_way().await;
                self.check_ports(member)?;
                if *id == plan.old.id {
                    self.seen.stopped[member] = None;
                }
                let done = self.engine.start(id).await;
                if let Err(EngineError::Reply { message, .. }) = &done {
                    let both = [&observed.old[member], &observed.new[member]];
                    for inspect in both.into_iter().flatten().filter(|one| one["Id"] == **id) {
                        self.tie_anew(inspect, message).await;
                    }
                }
                done
            }
            Call::StartAnew { id } => {
                self.switch.make_way().await;
                self.start_anew(member, id, &observed.facts.members[member]).await
            }
            Call::Rename { id, to } => self.engine.rename(id, to).await,
            Call::Remove { id } => self.engine.remove(id).await,
            Call::Tag { image, reference } => self.engine.tag(image, reference).await,
            Call::Compare
            | Call::WatchNew
            | Call::WatchOld
            | Call::FirstPass
            | Call::BackUp
            | Call::FindBackup
            | Call::PutBack
            | Call::Nothing => Ok(()),
        }
    }

    pub(super) async fn look_after_data(
        &mut self,
        call: &Call,
        facts: &Facts,
    ) -> Result<(), EngineError> {
        let (Some(keeper), progress) = (&self.keeper, &mut self.progress) else { return Ok(()) };
        let data = &mut self.seen.data;
        match call {
            Call::FirstPass => {
                keeper.first_pass(progress).await?;
                // So close to the stop as it can still be refused without a trace.
                hook::run(self.engine, self.plan).await?;
                data.passed = true;
            }
            Call::BackUp => {
                keeper.back_up(progress, facts).await?;
                data.kept = Some(state(facts));
            }
            Call::FindBackup => {
                keeper.find(facts).await?;
                data.kept = Some(state(facts));
            }
            _ => {
                keeper.put_back(progress, facts).await?;
                data.put_back = true;
            }
        }
        Ok(())
    }

    /// A container is tied to its networks by their ids, and one that was removed and made
    /// again has another: then no start would ever succeed. `why` is what the engine says.
    async fn tie_anew(&mut self, container: &Value, why: &str) {
        let id = container["Id"].as_str().unwrap_or_default();
        let networks = container["NetworkSettings"]["Networks"].as_object();
        for (name, endpoint) in networks.into_iter().flatten() {
            let network = endpoint["NetworkID"].as_str().filter(|network| !network.is_empty());
            if !network.is_some_and(|network| why.contains(network) && why.contains("not found")) {
                continue;
            }
            let asked: serde_json::Map<String, Value> =
                ["IPAMConfig", "Aliases", "Links", "DriverOpts"]
                    .into_iter()
                    .map(|key| (key.to_owned(), endpoint[key].clone()))
                    .collect();
            let off = self.engine.disconnect_network(name, id).await;
            let on = self.engine.connect_network(name, id, &asked.into()).await;
            debug!(name, ?off, ?on, "tied to a network that was made again");
        }
    }

    /// A start that fails on a busy port costs the container its network on
    /// engine 29, so the port is tried before.
    fn check_ports(&self, member: usize) -> Result<(), EngineError> {
        let published = &self.plan.handover.published;
        for published in published.iter().filter(|port| port.member == member && !port.lent) {
            port_is_free(published)
                .map_err(|busy| EngineError::Reply { status: 409, message: busy.to_string() })?;
        }
        Ok(())
    }
}

/// The create request with our own labels: which update made the container, and
/// the record from which a lost helper is replaced and a version gone back to.
fn create_body(plan: &Plan, member: usize) -> Value {
    let member = &plan.members[member];
    let mut body = member.create.clone().unwrap_or_default();
    if !body["Labels"].is_object() {
        body["Labels"] = json!({});
    }
    body["Labels"][labels::UPDATE] = update_label(plan, &member.name).into();
    body["Labels"][labels::RECORD] = json!(plan.record()).to_string().into();
    body
}
