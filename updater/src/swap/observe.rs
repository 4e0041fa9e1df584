//! Looking at the engine: the only way in which the swap learns anything.

use serde_json::Value;

use super::facts::{Container, Facts, MemberFacts};
use crate::engine::{Engine, EngineError};
use crate::plan::{Plan, labels};

/// One look: the facts, and the inspect documents that they were read from.
#[derive(Debug, Default)]
pub struct Observed {
    /// What the swap decides by. The gate's part is still empty.
    pub facts: Facts,
    /// The old containers' documents, in the order of the members.
    pub old: Vec<Option<Value>>,
    /// The new containers' documents, in the order of the members.
    pub new: Vec<Option<Value>>,
}

/// Looks at both containers of every member. The old one is known by its id, the
/// new one by the label that only this update gives; names are what we read, not
/// what we search by, since anybody may rename a container.
pub async fn observe(engine: &Engine, plan: &Plan) -> Result<Observed, EngineError> {
    let mut seen = Observed::default();
    for member in &plan.members {
        let old = engine.container(&member.old.id).await?;
        let new = find_new(engine, plan, &member.name).await?;
        // Before the commit nobody asks for it.
        let tagged = match (&old, &member.retag) {
            (None, Some(reference)) => {
                let image = engine.image(reference).await?;
                image.is_some_and(|image| image["Id"] == *member.image.id)
            }
            _ => false,
        };
        seen.facts.members.push(MemberFacts {
            tagged,
            old: old.as_ref().map(Container::from_inspect),
            new: new.as_ref().map(Container::from_inspect),
            ..MemberFacts::default()
        });
        seen.old.push(old);
        seen.new.push(new);
    }
    Ok(seen)
}

async fn find_new(
    engine: &Engine,
    plan: &Plan,
    member: &str,
) -> Result<Option<Value>, EngineError> {
    let label = format!("{}={}", labels::UPDATE, update_label(plan, member));
    for summary in engine.containers_labelled(&label).await? {
        let id = summary["Id"].as_str().unwrap_or_default();
        // It may have gone in between.
        if let Some(inspect) = engine.container(id).await? {
            return Ok(Some(inspect));
        }
    }
    Ok(None)
}

/// The value of [`labels::UPDATE`] on a member's new container.
pub fn update_label(plan: &Plan, member: &str) -> String {
    format!("{}/{member}", plan.update)
}
