//! An agent on gRPC: `agent HOST:PORT TOKEN_FILE SCENARIOS`. Whatever goes wrong, the call does not run.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

mod api {
    tonic::include_proto!("aisecops.v1");
}
use api::{
    approval_service_client::ApprovalServiceClient, decision_service_client::DecisionServiceClient,
    execution_service_client::ExecutionServiceClient, ApprovalState, CompleteRequest, DecideRequest, DecideResponse,
    ExecutionOutcome, ExecutionPlan, ExecutionReport, Outcome, RedeemRequest, Source, SourceKind, Step, WaitRequest,
};

#[derive(Deserialize)]
struct Influence {
    kind: String,
    content: String,
    #[serde(default)]
    tool: String,
}

#[derive(Deserialize)]
struct Scenario {
    name: String,
    intent: String,
    tool: String,
    arguments: String,
    swapped: Option<String>,
    sources: Vec<Influence>,
}

struct Agent {
    channel: Channel,
    token: String,
}

impl Agent {
    fn ask<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        let bearer = MetadataValue::try_from(format!("Bearer {}", self.token))
            .map_err(|_| Status::unauthenticated("the token is none"))?;
        request.metadata_mut().insert("authorization", bearer);
        request.set_timeout(Duration::from_secs(60));
        Ok(request)
    }

    async fn decide(&self, scenario: &Scenario, approval_id: &str) -> Result<DecideResponse, Status> {
        let sources = scenario.sources.iter().enumerate().map(|(at, source)| Source {
            source_id: format!("s{at}"),
            kind: SourceKind::from_str_name(&source.kind).unwrap_or_default() as i32,
            content: source.content.clone().into_bytes(),
            tool: source.tool.clone(),
            ..Default::default()
        });
        let step = Step {
            step_id: "call".into(),
            tool: scenario.tool.clone(),
            arguments_json: scenario.arguments.clone().into_bytes(),
            ..Default::default()
        };
        let plan = ExecutionPlan {
            intent: scenario.intent.clone(),
            environment: "production".into(),
            steps: vec![step],
            sources: sources.collect(),
            ..Default::default()
        };
        let request = DecideRequest {
            plan: Some(plan),
            idempotency_key: uuid::Uuid::new_v4().to_string(),
            approval_id: approval_id.into(),
            ..Default::default()
        };
        Ok(DecisionServiceClient::new(self.channel.clone()).decide(self.ask(request)?).await?.into_inner())
    }

    async fn is_approved(&self, approval_id: &str) -> Result<bool, Status> {
        let request = self.ask(WaitRequest { approval_id: approval_id.into() })?;
        let mut states = ApprovalServiceClient::new(self.channel.clone()).wait(request).await?.into_inner();
        let mut granted = false;
        while let Some(answer) = states.message().await? {
            granted = answer.approval.is_some_and(|approval| approval.state() == ApprovalState::Granted);
        }
        Ok(granted)
    }

    async fn call(&self, scenario: &Scenario) -> Result<String, Status> {
        let mut answer = self.decide(scenario, "").await?;
        let mut decision = answer.decision.take().unwrap_or_default();
        if decision.outcome() == Outcome::RequireApproval {
            println!("{}: waits for people", scenario.name);
            if !self.is_approved(&answer.approval_id).await? {
                return Ok("not approved".into());
            }
            answer = self.decide(scenario, &answer.approval_id).await?;
            decision = answer.decision.take().unwrap_or_default();
        }
        if decision.outcome() != Outcome::Allow || answer.grants.len() != 1 {
            let rule = decision.findings.first().map_or("policy", |found| found.rule.as_str());
            return Ok(format!("blocked by {rule}"));
        }
        let grant = answer.grants.remove(0);
        if let Some(obligation) = grant.obligations.first() {
            return Ok(format!("not run, cannot {}", obligation.kind));
        }
        // Exactly what will be sent to the tool; these are canonical (RFC 8785) as they stand.
        let arguments = scenario.swapped.as_ref().unwrap_or(&scenario.arguments);
        let digest: String = Sha256::digest(arguments).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut executions = ExecutionServiceClient::new(self.channel.clone());
        let redeem = self.ask(RedeemRequest {
            token: grant.token,
            redemption_key: uuid::Uuid::new_v4().to_string(),
            tool: scenario.tool.clone(),
            arguments_sha256: digest.clone(),
            presented_by: None,
        })?;
        if let Err(status) = executions.redeem(redeem).await {
            return Ok(format!("not run, the grant is refused ({})", name_of(status.code())));
        }
        // The tool runs here.
        let report = ExecutionReport {
            outcome: ExecutionOutcome::Executed as i32,
            tool: scenario.tool.clone(),
            arguments_sha256: digest,
            ..Default::default()
        };
        executions.complete(self.ask(CompleteRequest { grant_id: grant.grant_id, report: Some(report) })?).await?;
        Ok(format!("{} ran", scenario.tool))
    }
}

/// The code as every gRPC library but this one writes it: `FAILED_PRECONDITION`.
fn name_of(code: Code) -> String {
    let words = format!("{code:?}");
    let parts = words.chars().enumerate().flat_map(|(at, letter)| {
        let gap = (at > 0 && letter.is_uppercase()).then_some('_');
        gap.into_iter().chain(letter.to_uppercase())
    });
    parts.collect()
}

async fn run(address: &str, token: &str, scenario: &Scenario) {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("HOST:PORT");
    let agent = Agent { channel: endpoint.connect_lazy(), token: token.into() };
    match agent.call(scenario).await {
        Ok(told) => println!("{}: {told}", scenario.name),
        Err(status) => println!("{}: not run, no decision ({})", scenario.name, name_of(status.code())),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [address, token_file, scenarios] =
        <[String; 3]>::try_from(std::env::args().skip(1).collect::<Vec<_>>()).map_err(|_| "HOST:PORT TOKEN SCENARIOS")?;
    let token = std::fs::read_to_string(token_file)?.trim().to_owned();
    for scenario in serde_json::from_str::<Vec<Scenario>>(&std::fs::read_to_string(scenarios)?)? {
        run(&address, &token, &scenario).await;
    }
    let nobody = Scenario {
        name: "nobody answers".into(),
        intent: String::new(),
        tool: "tickets/read".into(),
        arguments: "{}".into(),
        swapped: None,
        sources: vec![],
    };
    run("127.0.0.1:1", &token, &nobody).await;
    Ok(())
}
