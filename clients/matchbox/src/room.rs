//! One socket's stay in a room. The socket is registered as a peer with the room's archetype, and
//! exchanges signals with the other peers of the room.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_client::{
    DiscoverRequest, DiscoveredPage, Event, KeeperOptions, LeaseKeeper, Mail, Peer, PublicKey,
    RegisterRequest, RegisterResponse, SecretKey, SignedRecord, View,
};
use matchbox_socket::{PeerEvent, PeerId, PeerRequest, PeerSignal, SignalingError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::post::{Letter, Post, batches, id_of};
use crate::{AuroraSignaller, AuroraSignallerBuilder, Keys, Staying, failure};

/// The maximum number of peers in one response: the most that a heartbeat may request.
const PAGE: u32 = 100;
/// How long signals to one peer are collected before they are sent. Most ICE candidates are found
/// within this time. They have to fit into few messages, because a mailbox holds only two messages
/// of one sender.
const COLLECTING: Duration = Duration::from_millis(100);

/// A socket's stay in a room.
pub(crate) struct Room {
    pub(crate) me: PeerId,
    pub(crate) post: Arc<Post>,
    pub(crate) keys: Keys,
    /// The peers that this one has made contact with.
    pub(crate) met: HashSet<PeerId>,
    /// The peers in `met` that have sent signals. They may be connected.
    pub(crate) answered: HashSet<PeerId>,
    /// For each other peer, the queue of signals to send to it. An entry `None` is a message without
    /// a signal, which only tells the other peer that this one has joined.
    pub(crate) outboxes: HashMap<PeerId, UnboundedSender<Option<PeerSignal>>>,
    /// One task receives mail. For each peer in `outboxes`, another task sends signals, and returns
    /// the peer if it could not be reached.
    pub(crate) tasks: JoinSet<Option<PeerId>>,
    pub(crate) events: UnboundedSender<PeerEvent>,
}

/// Joins a room under a new id. Fails after `attempts` failures, or if the service refuses the peer
/// permanently.
pub(crate) async fn join(
    builder: AuroraSignallerBuilder,
    attempts: Option<u16>,
    room: &str,
) -> Result<AuroraSignaller, SignalingError> {
    let AuroraSignallerBuilder { client, key, keys, rooms, .. } = builder;
    let staying = Staying::new(rooms);
    let me = PeerId(Uuid::new_v4());
    let key = key.map_or_else(new_key, Ok)?;
    let archetype = format!("matchbox:{room}");
    let others = DiscoverRequest::builder().archetype(&archetype).exclude(me).view(View::Full).limit(PAGE);
    let registration = RegisterRequest::builder(me)
        .archetype(archetype)
        .mail(true)
        .discover(others.build().map_err(failure)?)
        .build()
        .map_err(failure)?;
    let peer_id = registration.peer_id.clone();
    let (sender, mut life) = unbounded_channel();
    let options = KeeperOptions::new().key(key.clone());
    let keeper = LeaseKeeper::start_with(client.clone(), registration, options, move |event| {
        // After the room has been left, the channel has no receiver.
        let _ = sender.send(event);
    });
    let keeper = keeper.map_err(failure)?;
    let response = registered(&mut life, attempts).await?;
    let post = Arc::new(Post::new(client, peer_id, key, &response).ok_or_else(|| failure("no lease token"))?);
    let (mail_sender, mail) = unbounded_channel();
    let (request_sender, requests) = unbounded_channel();
    let (events, event_receiver) = unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&post).receive(mail_sender));
    let (met, answered, outboxes) = Default::default();
    let mut room = Room { me, post, keys, met, answered, outboxes, tasks, events };
    room.tell(PeerEvent::IdAssigned(me));
    room.meet(response.page);
    tokio::spawn(room.stay(keeper, life, mail, requests, staying));
    Ok(AuroraSignaller { requests: request_sender, events: event_receiver })
}

fn new_key() -> Result<SecretKey, SignalingError> {
    let mut random = [0; SecretKey::RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(failure)?;
    Ok(SecretKey::from_random(&random))
}

/// Waits until the peer is registered.
async fn registered(
    life: &mut UnboundedReceiver<Event>,
    attempts: Option<u16>,
) -> Result<RegisterResponse, SignalingError> {
    let mut failures = 0;
    while let Some(event) = life.recv().await {
        match event {
            Event::Registered(response) => return Ok(*response),
            Event::Refused { reason, retry_in: None } => return Err(failure(reason)),
            Event::Failed { error, .. } => {
                failures += 1;
                if attempts.is_some_and(|attempts| failures >= attempts) {
                    return Err(failure(error));
                }
            }
            _ => {}
        }
    }
    Err(failure("the peer could not be registered"))
}

impl Room {
    /// Passes signals on until the socket is dropped or the lease keeper ends, and then leaves the
    /// room.
    async fn stay(
        mut self,
        keeper: LeaseKeeper,
        mut life: UnboundedReceiver<Event>,
        mut mail: UnboundedReceiver<Mail>,
        mut requests: UnboundedReceiver<PeerRequest>,
        _staying: Staying,
    ) {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(PeerRequest::Signal { receiver, data }) => self.send(receiver, Some(data)),
                    Some(PeerRequest::KeepAlive) => {}
                    None => break,
                },
                event = life.recv() => match event {
                    Some(Event::Registered(response)) => self.meet(response.page),
                    Some(Event::Renewed(response)) => self.meet(response.page),
                    Some(event) => tracing::debug!(?event, "the lease of a peer in a room"),
                    None => break,
                },
                Some(mail) = mail.recv() => self.take(&mail),
                Some(ended) = self.tasks.join_next() => {
                    if let Ok(Some(peer)) = ended {
                        self.lose(peer);
                    }
                }
            }
        }
        if let Err(error) = keeper.stop().await {
            tracing::debug!(%error, "a peer could not be deregistered");
        }
    }

    /// Makes contact with the peers that are in the room already. Of two peers, the one with the
    /// smaller id makes the offer. The other one announces that it has joined.
    pub(crate) fn meet(&mut self, page: Option<DiscoveredPage>) {
        for (peer, key) in page.into_iter().flat_map(|page| page.peers).filter_map(|peer| member(&peer)) {
            if !self.keys.matches(peer, key) || !self.met.insert(peer) {
                continue;
            }
            if self.me < peer {
                self.tell(PeerEvent::NewPeer(peer));
            } else {
                self.send(peer, None);
            }
        }
    }

    pub(crate) fn take(&mut self, mail: &Mail) {
        let Some(Letter { from, key, signals }) = self.post.open(mail) else {
            tracing::debug!(from = %mail.from, "a message is not for this room");
            return;
        };
        if !self.keys.matches(from, key) {
            tracing::warn!(%from, %key, "a message is signed with another key than earlier ones");
            return;
        }
        let is_new = self.met.insert(from);
        if signals.is_empty() && is_new && self.me < from {
            self.tell(PeerEvent::NewPeer(from));
        }
        if !signals.is_empty() {
            self.answered.insert(from);
        }
        for data in signals {
            self.tell(PeerEvent::Signal { sender: from, data });
        }
    }

    fn send(&mut self, to: PeerId, signal: Option<PeerSignal>) {
        let Self { post, tasks, .. } = self;
        let outbox = self.outboxes.entry(to).or_insert_with(|| {
            let (sender, queue) = unbounded_channel();
            tasks.spawn(deliver(Arc::clone(post), to, queue));
            sender
        });
        // Sending fails if the task has just ended because the peer is unreachable. `stay` calls
        // `lose` next.
        let _ = outbox.send(signal);
    }

    /// Forgets a peer that could not be reached by mail, so that a new contact is made if a later
    /// heartbeat lists it. A peer that has sent signals is not forgotten, because it may be
    /// connected: the message that could not be delivered may contain a late candidate that the
    /// connection does not need.
    pub(crate) fn lose(&mut self, peer: PeerId) {
        self.outboxes.remove(&peer);
        if self.answered.contains(&peer) {
            return;
        }
        self.met.remove(&peer);
        if self.me < peer {
            self.tell(PeerEvent::PeerLeft(peer));
        }
    }

    fn tell(&self, event: PeerEvent) {
        // Sending fails only after the socket was dropped, which also ends `stay`.
        let _ = self.events.send(event);
    }
}

/// The id and the key of a listed peer. `None` if the peer has not signed its registration, or has
/// no mailbox.
fn member(peer: &Peer) -> Option<(PeerId, PublicKey)> {
    let id = id_of(&peer.peer_id)?;
    let text = peer.signed.as_deref().filter(|text| SignedRecord::has_mailbox(text))?;
    let record = SignedRecord::parse(text).ok().filter(|record| *record.peer_id() == peer.peer_id)?;
    Some((id, record.verify().ok()?))
}

/// Sends the signals in `queue` to one peer. Returns the peer if it can't be reached.
async fn deliver(
    post: Arc<Post>,
    to: PeerId,
    mut queue: UnboundedReceiver<Option<PeerSignal>>,
) -> Option<PeerId> {
    while let Some(first) = queue.recv().await {
        // An answer waits for its candidates, so that they share a message. An offer is sent
        // immediately, because the offering peer sends its candidates only after the answer.
        if !matches!(first, None | Some(PeerSignal::Offer(_))) {
            sleep(COLLECTING).await;
        }
        let mut signals: Vec<_> = first.into_iter().collect();
        while let Ok(next) = queue.try_recv() {
            signals.extend(next);
        }
        for batch in batches(signals) {
            if let Err(error) = post.send(to, &batch).await {
                tracing::warn!(%error, %to, "signals could not be delivered");
                return Some(to);
            }
        }
    }
    None
}
