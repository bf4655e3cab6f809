// Peers within a page, which the checks of channels control.

/** Runs in a page. Makes `lab` there, on the client that the page itself uses. */
export const LAB = async (url) => {
  const from = (module) => import(`/page/client/${module}.js`);
  const { Client } = await from("client");
  const { SecretKey } = await from("secret-key");
  const { Signer } = await from("signer");
  const { base64url, fromBase64url, fromUtf8, utf8 } = await from("encoding");
  const { sign } = await from("jws");
  const payloadOf = (message) => JSON.parse(fromUtf8(fromBase64url(message.split(".")[1])));

  /** A client whose mail can be observed and changed. */
  class Post extends Client {
    /** The messages that the service has accepted. */
    sent = [];
    /** How many requests fetched mail. */
    fetched = 0;
    /** Returns the messages that the client receives in place of one that the service lists. */
    handOn = async (mail) => [mail];
    mayWait;
    #sending = new EventTarget();

    async mail(request, options) {
      const response = await super.mail(request, options);
      this.sent.push({ ...payloadOf(request.message), bytes: request.message.length });
      this.#sending.dispatchEvent(new Event("sent"));
      return response;
    }

    async mailbox(request, options) {
      this.fetched += 1;
      // A browser opens at most six connections to a service, so the requests of most peers must
      // not wait for mail.
      const changed = this.mayWait ? request : { ...request, wait_seconds: 0 };
      const response = await super.mailbox(changed, options);
      return { ...response, mail: (await Promise.all(response.mail.map(this.handOn))).flat() };
    }

    /** Waits until the service has accepted this many messages. */
    async hasSent(count) {
      while (this.sent.length < count) {
        await new Promise((resolve) => this.#sending.addEventListener("sent", resolve, { once: true }));
      }
    }
  }

  class Peer {
    /** The peers that have opened a channel to this one. */
    callers = [];

    constructor(id, client) {
      this.id = id;
      this.client = client;
    }

    /** This peer as the service lists it, which is what `connect` takes. */
    async listed() {
      const { peers } = await this.client.discover({ view: "full", archetypes: [this.id] });
      return peers.find(({ peer_id }) => peer_id === this.id);
    }

    /** Starts to fetch mail. */
    receive(options) {
      const onConnection = (_, { peer_id }) => this.callers.push(peer_id);
      this.connections = this.keeper.connections({ onConnection, ...options });
      return this;
    }

    /** Tries to connect to another peer. Returns "open", or the name of the error. */
    async call(other) {
      const peer = other instanceof Peer ? await other.listed() : other;
      // The code of a DOMException is a number.
      const name = ({ code, kind, name }) => (typeof code === "string" ? code : (kind ?? name));
      return this.connections.connect(peer).then(({ readyState }) => readyState, name);
    }

    /** Waits up to 30 s until `count` peers have opened a channel to this one, and returns them. */
    async calledBy(count) {
      for (const end = performance.now() + 30_000; this.callers.length < count && performance.now() < end; ) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return this.callers.join();
    }

    /** The messages in the mailbox. */
    async waiting() {
      const request = { peer_id: this.id, lease_token: this.token, acknowledge: [], wait_seconds: 0 };
      return (await this.client.mailbox(request)).mail;
    }
  }

  globalThis.lab = {
    SecretKey,
    /** Registers a peer. It does not fetch mail yet. */
    async join(id, { mail = true, mayWait = false, retries = 3 } = {}) {
      const peer = new Peer(id, new Post(url, { retries }));
      peer.client.mayWait = mayWait;
      peer.key = await SecretKey.generate();
      await new Promise((resolve) => {
        const onEvent = (event) => {
          if (event.type === "registered") {
            peer.token = event.response.lease_token;
            resolve();
          }
        };
        peer.keeper = peer.client.keep({ peer_id: id, mail, archetypes: [id] }, { key: peer.key, onEvent });
      });
      return peer;
    },
    /** A record for the name of another peer, by a new key. */
    async recordBySomebodyElse(id) {
      const signer = new Signer(await SecretKey.generate());
      return JSON.parse(await signer.body({ peer_id: id, mail: true })).signed;
    },
    /** A message with a changed payload: signed by `key`, or with the signature of the original. */
    async changed(mail, change, key) {
      const payload = JSON.stringify({ ...payloadOf(mail.message), ...change(payloadOf(mail.message)) });
      const [header, , signature] = mail.message.split(".");
      const unsigned = `${header}.${base64url(utf8(payload))}.${signature}`;
      return { ...mail, message: key ? await sign(payload, "aurora-mail+jws", key) : unsigned };
    },
    /** A description with the fingerprint of another certificate. */
    swapped: ({ sdp }) => ({
      sdp: sdp.replace(/^(a=fingerprint:sha-256 )(..)/m, (_, name, byte) => name + (byte === "00" ? "11" : "00")),
    }),
  };
};
