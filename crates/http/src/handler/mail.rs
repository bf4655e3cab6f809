//! `POST /mail` and `POST /mailbox`

use std::time::Duration;

use aurora_discovery_protocol::{MailRequest, MailResponse, MailboxRequest, MailboxResponse};
use aurora_discovery_registry::Letter;
use axum::Extension;
use axum::response::{IntoResponse as _, Response};
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};

use super::context::Context;
use crate::connection::state::StreamGuard;
use crate::error::Failure;
use crate::mail::{MailReader, Wait, listed, next_poll_seconds};
use crate::rate::Charge;
use crate::request_context::{RequestBody, RequestContext};
use crate::response::json;

/// `POST /mail`: puts a message into the mailbox of another peer.
pub(crate) async fn mail(context: Context, RequestBody(body): RequestBody) -> Result<Response, Failure> {
    context.turn().await;
    let rates = &context.service.rates;
    rates.take(Charge::Mail, context.caller.address, 1)?;
    let request = MailRequest::from_body(&body)?;
    let mail = context.registry().accept_mail(request, &context.caller, context.now).await?;
    rates.send_mail(mail.from())?;
    context.registry().deliver_mail(mail, context.now).await?;
    let response = json(&MailResponse { expires_in_seconds: Letter::LIFE_MILLIS / 1_000 })?;
    Ok((StatusCode::ACCEPTED, response).into_response())
}

/// `POST /mailbox`: the messages that wait for a peer. If there are none and the request has
/// `wait_seconds`, the response waits for the first message. A client that accepts server-sent
/// events gets a stream of messages instead.
pub(crate) async fn mailbox(
    context: Context,
    headers: HeaderMap,
    Extension(request_context): Extension<RequestContext>,
    RequestBody(body): RequestBody,
) -> Result<Response, Failure> {
    context.turn().await;
    let MailboxRequest { peer_id, lease_token, acknowledge, wait_seconds } =
        MailboxRequest::from_body(&body)?;
    let wait = Duration::from_secs(wait_seconds.into()).min(context.service.options.max_mail_wait);
    let wants_events = accepts_events(&headers) && !context.service.options.max_mail_wait.is_zero();
    // The signal is created before the mailbox is read. A message that arrives in between therefore
    // triggers it and is not missed.
    let signal = context.registry().mail_signal(&peer_id);
    let letters = context
        .registry()
        .collect_mail(&peer_id, &lease_token, &acknowledge, &context.caller, context.now)
        .await?;
    let signal = match signal {
        Some(signal) if wants_events || (letters.is_empty() && !wait.is_zero()) => signal,
        Some(_) | None => {
            let next_poll_seconds = next_poll_seconds(&context.service, &peer_id);
            return json(&MailboxResponse { mail: listed(letters, context.now), next_poll_seconds });
        }
    };
    let watchers = &context.service.watchers;
    let permit = watchers.permit(context.caller.address).ok_or_else(|| {
        Failure::unavailable(
            "the limit of requests that wait is reached, in total or for your address; try again \
             later, or without wait_seconds",
        )
    })?;
    let connection = request_context.connection.map(StreamGuard::new);
    let waiting = Wait::new(context.service.clone(), permit, connection);
    let reader = MailReader { peer: peer_id, token: lease_token, caller: context.caller, signal, waiting };
    Ok(if wants_events { reader.events(letters, context.now) } else { reader.response(wait) })
}

/// Whether the client accepts server-sent events.
fn accepts_events(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types =
        values.flat_map(|value| value.split(',')).map(|item| item.split(';').next().unwrap_or(item));
    types.any(|media_type| media_type.trim().eq_ignore_ascii_case("text/event-stream"))
}
