//! The same request twice: a client that has not heard an answer asks again with the same `Idempotency-Key`, and gets the
//! answer that it has missed, once there is one. Answers are kept in memory; which VM a request has made is written on the
//! VM's ticket, so that a restarted server does not make a second one.
//!
//! Source: IETF draft `draft-ietf-httpapi-idempotency-key-header`.

use super::fleet::lock;
use super::problem::Problem;
use crate::values::Sha256;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// How many answers are kept.
const KEPT: usize = 1000;
/// The header, and how long a key may be.
const HEADER: &str = "idempotency-key";
const LONGEST: usize = 255;

/// An answer that can be given twice.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Where the thing is that was made.
    pub location: Option<HeaderValue>,
    /// JSON.
    pub body: Bytes,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], self.body).into_response();
        if let Some(location) = self.location {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

/// A request that may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The digest of its key.
    key: Sha256,
    /// The digest of what makes two requests the same.
    what: Sha256,
}

impl Asked {
    /// A request to `route` with this body; None: it has no key.
    pub fn new(headers: &HeaderMap, route: &str, body: &[u8]) -> Result<Option<Self>, Problem> {
        let what = |key: &str| Self {
            key: Sha256::of(key.as_bytes()),
            what: Sha256::of(&[route.as_bytes(), b"\n", body].concat()),
        };
        Ok(key(headers)?.map(what))
    }
}

/// What a piece of work comes to.
pub type Outcome = Result<Answer, Problem>;
type Waiting = watch::Receiver<Option<Outcome>>;

/// Answers by key.
#[derive(Debug, Default)]
pub struct Answers(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_key: BTreeMap<Sha256, (Sha256, Waiting)>,
    /// Oldest first.
    order: VecDeque<Sha256>,
}

enum Claim {
    New(watch::Sender<Option<Outcome>>),
    Same(Waiting),
}

impl Answers {
    /// Does the work, or waits for the answer of the request that had the same key before. The work goes on when its client
    /// hangs up.
    pub async fn once<W>(self: &Arc<Self>, asked: Option<Asked>, work: W) -> Outcome
    where
        W: Future<Output = Outcome> + Send + 'static,
    {
        let lost = || Problem::internal("the work for this request has ended without an answer");
        let Some(asked) = asked else { return tokio::spawn(work).await.map_err(|_| lost())? };
        let mut answer = match self.claim(asked)? {
            Claim::Same(answer) => answer,
            Claim::New(sender) => {
                let (answer, answers) = (sender.subscribe(), Arc::clone(self));
                tokio::spawn(async move {
                    // Also when the work panics: whoever waits must hear of it, and the key be free again.
                    let outcome = tokio::spawn(work).await.unwrap_or_else(|_| Err(lost()));
                    if !is_final(&outcome) {
                        answers.forget(asked.key);
                    }
                    sender.send_replace(Some(outcome));
                });
                answer
            }
        };
        let answer = answer.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        answer.unwrap_or_else(|| Err(lost()))
    }

    /// Keeps an answer that another server has given.
    pub fn restore(&self, asked: Asked, outcome: Outcome) {
        if let Ok(Claim::New(sender)) = self.claim(asked) {
            sender.send_replace(Some(outcome));
        }
    }

    fn claim(&self, Asked { key, what }: Asked) -> Result<Claim, Problem> {
        let mut kept = lock(&self.0);
        if let Some((before, answer)) = kept.by_key.get(&key) {
            if *before != what {
                let detail = "another request had this key before; a new request needs a new one";
                return Err(Problem { field: Some("Idempotency-Key".to_owned()), ..Problem::value("", detail) });
            }
            return Ok(Claim::Same(answer.clone()));
        }
        while kept.order.len() >= KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            // It may still be at work; who waits for it has its own hold of the answer.
            kept.by_key.remove(&oldest);
        }
        let (sender, answer) = watch::channel(None);
        kept.by_key.insert(key, (what, answer));
        kept.order.push_back(key);
        Ok(Claim::New(sender))
    }

    fn forget(&self, key: Sha256) {
        let mut kept = lock(&self.0);
        kept.by_key.remove(&key);
        kept.order.retain(|one| *one != key);
    }
}

/// Whether asking again would come to the same. What was full, or broke, may be better next time.
fn is_final(outcome: &Outcome) -> bool {
    outcome.as_ref().err().is_none_or(|problem| problem.status < 500 && problem.status != 429)
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let good = |text: &&str| !text.is_empty() && text.len() <= LONGEST;
    let bad = || {
        let detail = format!("a key is 1 to {LONGEST} printable ASCII characters");
        Problem {
            field: Some("Idempotency-Key".to_owned()),
            ..Problem::new(StatusCode::BAD_REQUEST, "idempotency-key", detail)
        }
    };
    value.to_str().ok().filter(good).map(Some).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU16, Ordering};

    async fn ask(answers: &Arc<Answers>, key: &str, body: &str, status: u16) -> u16 {
        static WORK: AtomicU16 = AtomicU16::new(0);
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, key.parse().unwrap());
        let work = async move {
            tokio::task::yield_now().await;
            let number = WORK.fetch_add(1, Ordering::Relaxed);
            match status {
                200 => Ok(Answer { status: StatusCode::OK, location: None, body: number.to_string().into() }),
                status => Err(Problem::new(StatusCode::from_u16(status).unwrap(), "x", "x")),
            }
        };
        let asked = Asked::new(&headers, "POST /vms", body.as_bytes()).unwrap();
        match answers.once(asked, work).await {
            Ok(answer) => std::str::from_utf8(&answer.body).unwrap().parse().unwrap(),
            Err(problem) => problem.status,
        }
    }

    #[tokio::test]
    async fn one_key_stands_for_one_request() {
        let answers = Arc::new(Answers::default());
        let (first, same) = tokio::join!(ask(&answers, "a", "1", 200), ask(&answers, "a", "1", 200));
        assert_eq!(first, same, "at once");
        assert_eq!(ask(&answers, "a", "1", 200).await, first, "and later");
        assert_ne!(ask(&answers, "b", "1", 200).await, first);
        assert_eq!(ask(&answers, "a", "2", 200).await, 422);
        // What was full may be tried again, what is wrong stays wrong.
        assert_eq!(ask(&answers, "c", "1", 503).await, 503);
        assert_ne!(ask(&answers, "c", "1", 200).await, 503);
        assert_eq!(ask(&answers, "d", "1", 409).await, 409);
        assert_eq!(ask(&answers, "d", "1", 200).await, 409);
    }

    #[tokio::test]
    async fn no_more_than_so_many_are_kept() {
        let answers = Arc::new(Answers::default());
        for number in 0..KEPT + 10 {
            ask(&answers, &format!("k{number}"), "1", 200).await;
        }
        assert_eq!(lock(&answers.0).by_key.len(), KEPT);
        assert_eq!(lock(&answers.0).order.len(), KEPT);
    }
}
