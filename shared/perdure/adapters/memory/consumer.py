"""A durable consumer: offers a stream's messages until they are settled, whoever asks."""

import contextvars
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial

from perdure.adapters.memory.session import Session
from perdure.adapters.memory.stream import Message, Stream
from perdure.adapters.memory.stream_time import Alarm, StreamTime
from perdure.ports.addresses import Stored


class Offer[K: Hashable]:
    """One message handed to one subscription."""

    def __init__(
        self,
        consumer: "Consumer[K]",
        source: Message[K],
        attempt: int,
        subscription: "ConsumerSubscription[K]",
    ) -> None:
        self._consumer = consumer
        self.source = source
        self.attempt = attempt
        self.subscription = subscription
        self.reign = consumer.reign
        self.is_old = source.stored.seq <= subscription.begins_after

    def ack(self) -> None:
        self._consumer.send(self, partial(self._consumer.acked, self))

    def extend(self) -> None:
        self._consumer.send(self, partial(self._consumer.extended, self))

    def nak(self, delay: int = 0) -> None:
        self._consumer.send(self, partial(self._consumer.refused, self, delay))


class Delivered[K: Hashable]:
    """What every kind of delivery shares; each port's own adds where the message comes from."""

    def __init__(self, offer: Offer[K]) -> None:
        self._offer = offer

    @property
    def message(self) -> Stored:
        return self._offer.source.stored

    @property
    def attempt(self) -> int:
        return self._offer.attempt

    @property
    def is_old(self) -> bool:
        return self._offer.is_old

    def ack(self) -> None:
        self._offer.ack()

    def extend(self) -> None:
        self._offer.extend()

    def nak(self, delay: int = 0) -> None:
        self._offer.nak(delay)


class ConsumerSubscription[K: Hashable]:
    """One opener of a consumer."""

    def __init__(
        self,
        consumer: "Consumer[K]",
        session: Session,
        on_offer: Callable[[Offer[K]], None],
        credit: int,
        begins_after: int,
    ) -> None:
        self._consumer = consumer
        self.session = session
        self._on_offer = on_offer
        self.credit = credit
        self.begins_after = begins_after
        self.held = 0
        # In the order of the offers: what goes back goes back in order. A dict for want of an
        # ordered set.
        self.buffered: dict[Offer[K], None] = {}
        self.context = contextvars.copy_context()

    def hand_over(self, offer: Offer[K]) -> None:
        if self.session.alive and offer in self.buffered:
            del self.buffered[offer]
            self._on_offer(offer)

    async def close(self) -> None:
        if self.session.alive:
            await self.session.call(partial(self._consumer.detach, self))


class Consumer[K: Hashable]:
    """The messages of ``stream`` that ``wants`` lets through, in order, shared by all openers."""

    def __init__(
        self,
        stream: Stream[K],
        time: StreamTime,
        *,
        wants: Callable[[K], bool],
        lease: int,
        on_settled: Callable[[int], None] | None = None,
    ) -> None:
        self._stream = stream
        self._time = time
        self._wants = wants
        self._lease = lease
        self._on_settled = on_settled
        self._fresh = deque(m.stored.seq for m in stream.messages() if wants(m.subject))
        self._again: deque[int] = deque()
        self._attempts: dict[int, int] = {}
        """Offered at least once and not settled."""
        self._current: dict[int, Offer[K]] = {}
        """The newest offer of a message; an older one can still acknowledge, but not refuse."""
        self._leases: dict[Offer[K], int] = {}
        """When each lease ends, the next one first: every lease is equally long."""
        self._alarm: Alarm | None = None
        self._subscriptions: deque[ConsumerSubscription[K]] = deque()
        self.reign = 0
        """Counts take-overs: what a holder of an earlier reign says is too late."""
        stream.listen(self._appended)

    # ------------------------------------------------------------ openers

    def open(
        self, session: Session, on_offer: Callable[[Offer[K]], None], *, credit: int
    ) -> ConsumerSubscription[K]:
        if credit < 1:
            raise ValueError(f"credit must be at least 1, got {credit}")
        subscription = ConsumerSubscription(self, session, on_offer, credit, self._stream.last)
        self._subscriptions.append(subscription)
        self._pump()
        return subscription

    def take_over(self) -> None:
        """Turn every opener out and offer all that is unsettled from the oldest on."""
        self.reign += 1
        for subscription in self._subscriptions:
            subscription.buffered.clear()
        self._subscriptions.clear()
        self._leases.clear()
        self._current.clear()
        self._again.clear()
        self._fresh = deque(sorted({*self._fresh, *self._attempts}))

    def end_leases(self) -> None:
        """Whoever holds something is gone: it may be offered to others."""
        for offer in list(self._leases):
            offer.subscription.buffered.pop(offer, None)
            self._returned(offer)

    def detach(self, subscription: ConsumerSubscription[K]) -> None:
        if subscription not in self._subscriptions:
            return
        self._subscriptions.remove(subscription)
        for offer in list(subscription.buffered):
            self._returned(offer)
        subscription.buffered.clear()
        self._pump()

    # ------------------------------------------------------------ figures

    @property
    def waiting(self) -> int:
        """Messages that could be offered now."""
        return sum(1 for seq in {*self._fresh, *self._again} if self._is_offerable(seq))

    @property
    def settled(self) -> int:
        """Every message up to this sequence is settled."""
        open_seqs = [seq for seq in (*self._fresh, *self._attempts) if self._stream.get(seq)]
        return min(open_seqs) - 1 if open_seqs else self._stream.last

    # ----------------------------------------------------- words of holders

    def send(self, offer: Offer[K], effect: Callable[[], None]) -> None:
        """Carry a holder's word to the store, unless its process is dead by then."""

        def arrive() -> None:
            if offer.subscription.session.alive and offer.reign == self.reign:
                effect()
                self._pump()

        if offer.subscription.session.alive:
            self._time.call_soon(arrive)

    def acked(self, offer: Offer[K]) -> None:
        self._release(offer)
        seq = offer.source.stored.seq
        if self._attempts.pop(seq, None) is not None:
            self._current.pop(seq, None)
            if self._on_settled is not None:
                self._on_settled(seq)

    def extended(self, offer: Offer[K]) -> None:
        if self._leases.pop(offer, None) is not None:
            self._leases[offer] = self._time.now() + self._lease
            self._watch_leases()

    def refused(self, offer: Offer[K], delay: int) -> None:
        if offer not in self._leases:
            return
        if delay <= 0:
            self._returned(offer)
            return
        self._release(offer)
        self._time.alarm(self._time.now() + delay, partial(self._delay_over, offer))

    # ------------------------------------------------------------- innards

    def _appended(self, message: Message[K]) -> None:
        if self._wants(message.subject):
            self._fresh.append(message.stored.seq)
            self._pump()

    def _delay_over(self, offer: Offer[K]) -> None:
        self._queue_again(offer)
        self._pump()

    def _returned(self, offer: Offer[K]) -> None:
        self._release(offer)
        self._queue_again(offer)

    def _queue_again(self, offer: Offer[K]) -> None:
        seq = offer.source.stored.seq
        if self._current.get(seq) is offer:
            del self._current[seq]
            self._again.append(seq)

    def _release(self, offer: Offer[K]) -> None:
        if self._leases.pop(offer, None) is not None:
            offer.subscription.held -= 1

    def _is_offerable(self, seq: int) -> bool:
        if self._stream.get(seq) is None:
            self._attempts.pop(seq, None)
            return False
        return seq not in self._current

    def _next_ready(self) -> int | None:
        for waiting in (self._again, self._fresh):
            while waiting:
                seq = waiting.popleft()
                if waiting is self._again and seq not in self._attempts:
                    continue
                if self._is_offerable(seq):
                    return seq
        return None

    def _next_in_turn(self) -> ConsumerSubscription[K] | None:
        for _ in range(len(self._subscriptions)):
            subscription = self._subscriptions.popleft()
            if not subscription.session.alive:
                continue
            self._subscriptions.append(subscription)
            if subscription.held < subscription.credit:
                return subscription
        return None

    def _pump(self) -> None:
        while self._again or self._fresh:
            subscription = self._next_in_turn()
            if subscription is None or (seq := self._next_ready()) is None:
                return
            self._hand(seq, subscription)

    def _hand(self, seq: int, subscription: ConsumerSubscription[K]) -> None:
        message = self._stream.get(seq)
        if message is None:
            return
        attempt = self._attempts.get(seq, 0) + 1
        self._attempts[seq] = attempt
        offer = Offer(self, message, attempt, subscription)
        self._current[seq] = offer
        self._leases[offer] = self._time.now() + self._lease
        self._watch_leases()
        subscription.held += 1
        subscription.buffered[offer] = None
        self._time.call_soon(partial(subscription.hand_over, offer), context=subscription.context)

    def _watch_leases(self) -> None:
        if self._alarm is None and self._leases:
            self._alarm = self._time.alarm(next(iter(self._leases.values())), self._end_leases)

    def _end_leases(self) -> None:
        self._alarm = None
        now = self._time.now()
        for offer, end in list(self._leases.items()):
            if end > now:
                break
            offer.subscription.buffered.pop(offer, None)
            self._returned(offer)
        self._watch_leases()
        self._pump()
