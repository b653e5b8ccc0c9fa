from services.serve.admission import Budget, Gate, GateConfig, Refusal

MS = 0.001


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def crowded_gate(clock: Clock) -> Gate:
    """A gate whose callers have found 20 ms of queue for a second, at 2 ms a read."""
    gate = Gate(clock=clock)
    for _ in range(50):
        clock.now += 20 * MS
        if gate.enter(Budget.READS, waited=20 * MS) is None:
            gate.leave(Budget.READS, computed=2 * MS)
    assert gate.crowded
    return gate


def test_a_burst_on_a_quiet_gateway_waits_its_turn():
    gate = Gate(clock=Clock())
    assert [gate.enter(Budget.READS) for _ in range(40)] == [None] * 40


def test_without_end_even_a_burst_is_refused():
    gate = Gate(clock=Clock())
    outcomes = [gate.enter(Budget.READS) for _ in range(400)]
    assert outcomes[-1] is Refusal.DELAY and gate.reads < 256


def test_a_standing_queue_shortens_what_may_be_waited_for():
    gate = crowded_gate(Clock())
    assert gate.enter(Budget.READS, waited=30 * MS) is Refusal.DELAY
    assert gate.enter(Budget.READS, waited=1 * MS) is None


def test_work_admitted_before_counts_as_time_to_wait():
    gate = crowded_gate(Clock())
    outcomes = [gate.enter(Budget.READS) for _ in range(20)]
    assert outcomes[:12] == [None] * 12 and outcomes[-1] is Refusal.DELAY


def test_behind_a_proxy_that_keeps_to_the_room_only_what_waited_very_long_is_refused():
    gate = crowded_gate(Clock())
    assert gate.enter(Budget.READS, waited=30 * MS, guarded=True) is None
    assert gate.enter(Budget.READS, waited=500 * MS, guarded=True) is Refusal.DELAY


def test_the_room_is_small_while_there_is_a_queue_and_large_again_soon_after():
    clock, config = Clock(), GateConfig()
    gate = crowded_gate(clock)
    assert gate.room == config.room
    for _ in range(5):
        clock.now += 0.2
        assert gate.enter(Budget.READS) is None
        gate.leave(Budget.READS, computed=2 * MS)
    assert gate.room == config.burst_room


def test_the_pace_is_the_time_between_answers_while_one_follows_the_other():
    clock = Clock()
    gate = Gate(clock=clock)
    for _ in range(200):
        assert gate.enter(Budget.READS) is None
        assert gate.enter(Budget.READS) is None
        for _ in range(2):
            clock.now += 5 * MS  # 5 ms each, although the reads themselves took 1 ms
            gate.leave(Budget.READS, computed=1 * MS)
    between_the_two = gate.target_s / GateConfig().target_queue
    assert 2.5 * MS < between_the_two < 3.5 * MS


def test_one_interruption_is_not_the_pace():
    clock = Clock()
    gate = Gate(clock=clock)
    before = gate.target_s
    gate.enter(Budget.READS)
    gate.leave(Budget.READS, computed=5.0)
    assert gate.target_s < 1.5 * before


def test_reads_and_writes_have_budgets_of_their_own():
    gate = Gate(GateConfig(writes=2), Clock())
    assert [gate.enter(Budget.WRITES) for _ in range(3)] == [None, None, Refusal.WRITES]
    assert gate.enter(Budget.READS) is None
    gate.leave(Budget.WRITES)
    assert gate.enter(Budget.WRITES) is None


def test_reads_that_never_end_do_not_add_up_without_bound():
    gate = Gate(GateConfig(reads=3, target_delay_s=100.0), Clock())
    assert [gate.enter(Budget.READS) for _ in range(4)] == [None, None, None, Refusal.READS]


def test_bodies_of_writes_fill_a_bounded_memory_but_one_always_fits():
    gate = Gate(GateConfig(write_bytes=100), Clock())
    assert gate.enter(Budget.WRITES, size=150) is None
    assert gate.enter(Budget.WRITES, size=1) is Refusal.BYTES
    gate.leave(Budget.WRITES, 150)
    assert gate.enter(Budget.WRITES, size=60) is None
    assert gate.enter(Budget.WRITES, size=40) is None
    assert gate.bytes == 100


def test_while_the_proxy_refuses_many_the_line_is_kept_short():
    clock, config = Clock(), GateConfig()
    gate = crowded_gate(clock)
    gate.refused(3)
    assert gate.room == config.room
    gate.refused(50)
    assert gate.room == config.short_room
    clock.now += 5.0
    assert gate.room > config.short_room
