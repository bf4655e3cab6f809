//! The faults that can be built into the reference store.

/// One fault of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NeverExpires,
    EvictsLiveOnly,
    EvictsNoKeys,
    EvictsFirstOnly,
    /// The store does not return the key that locks the name of a deregistered peer.
    NamesNoLeftKeys,
    ReplacesAnyBlocks,
    RestartForgetsBlocks,
    ExpiresEarly,
    RenewsForLong,
    HeartbeatCreates,
    HeartbeatNeverRevives,
    RevivesForever,
    OlderTimeShortens,
    CountsDormant,
    LastSeenNeverMoves,
    KeepsOldArchetypes,
    AnyoneOverwrites,
    AnyoneDeregisters,
    AnyoneDeregistersDormant,
    IgnoresTokenOnly,
    /// A dormant token-only name is free.
    ReservesNothing,
    /// A client at the holder's address can make a registration token-only without the token.
    AddressMakesTokenOnly,
    /// A name that was signed once is not locked.
    KeepsNoSignatures,
    AcceptsAnyKey,
    AcceptsOldRecords,
    /// A client at the holder's address can sign a live name for the first time without the token.
    AddressSigns,
    /// Each registration begins a new lock, so that the name no longer counts as held since the
    /// first one.
    ForgetsHowLongHeld,
    LeavesNoTombstone,
    RestartUnlocks,
    TrustsPages,
    /// A page's own registration is not recognized.
    ForgetsPages,
    WrongTokenRenews,
    WrongTokenLocksOut,
    RefusedHeartbeatRenews,
    /// A heartbeat from the holder's network, but not from its source, proves nothing.
    NetworkProvesNothing,
    EveryHeartbeatProves,
    NeverStoresProofs,
    /// A proof is stored only if the lease needs a write as well.
    StoresProofsWithLeases,
    /// A name without proof for twelve leases remains protected.
    NeverFreesNames,
    RestartKeepsProof,
    UnboundedUnproven,
    BoundsUnprovenLoopback,
    /// A source at its bound cannot renew the peers that it keeps alive.
    RefusesKeptPeers,
    /// A proven heartbeat is refused like an unproven one.
    EveryHeartbeatIsBounded,
    ProofReleasesNothing,
    RegistrationReleasesNothing,
    LeaseEndReleasesNothing,
    DormantRemovedAsLive,
    TokenAlwaysNew,
    TokenNeverNew,
    RefusedPutRenews,
    AlwaysFirstPage,
    ConsecutivePeers,
    FavoursSeveralArchetypes,
    SamplesDormant,
    NeverFills,
    /// A diverse sample is uniform.
    NeverDiverse,
    /// A diverse sample lists one peer of each network and no other.
    OnlyNetworks,
    FillIsCounted,
    FillsInOrder,
    FillsWithExcluded,
    OffsetPositions,
    AcceptsAnyPosition,
    IgnoresPageBytes,
    IgnoresExclude,
    IgnoresCase,
    ReserializesMetadata,
    RefusesMembers,
    NeverEvictsDormant,
    CountsLoopback,
    MembersEvadeAddressBound,
    UnboundedSources,
    /// A source bound of 0 allows no peer.
    ZeroIsABound,
    UnboundedNetworks,
    UnboundedSites,
    UnboundedHosts,
    OneSourceTakesAll,
    CountsLocalAddresses,
    CountsOwnAddress,
    CountsPortZero,
    /// IPv4 and IPv4-mapped spellings of one address count as different addresses.
    CountsSpellings,
    BoundsRevivals,
    MembersMoveFreely,
    MembersGrowFreely,
    MembersAddArchetypes,
    /// Newcomers without a new archetype are refused.
    RefusesKnownArchetypes,
    KnowsWithoutBound,
    EvictsAnySource,
    EvictsNewest,
    /// Replacing a known peer evicts another one.
    ReplacementEvicts,
    BoundsKnownLoopback,
    /// The end of a lease may evict the longest dormant peer of its source.
    LeaseEndEvicts,
    ChecksThenActs,
    SweepEvictsDormant,
    WorksWhenClosed,
    /// Collecting a message deletes it.
    MailIsReadOnce,
    MailNeverExpires,
    MailForgetsSessions,
    /// A message that a mailbox has no room for is dropped in silence.
    MailRefusesNothing,
    /// All peers have one mailbox.
    MailForAll,
    MailOfAnySource,
    RestartLosesLease,
    RestartForgetsTokens,
}
