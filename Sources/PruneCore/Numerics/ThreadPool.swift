// SPDX-License-Identifier: Apache-2.0
internal import CKernels
internal import CThreads
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The threads that share the work of a call, one pool for the whole library.
///
/// One loop runs on the pool at a time. A loop started while another runs (from a second host thread, or from inside a
/// loop) runs on its own thread alone: slower, never wrong, never waiting.
public final class ThreadPool: @unchecked Sendable {
    /// The pool of this process. A child made by `fork` has none of its parent's threads, so it gets a pool of its own.
    /// nil in a child that was forked while another thread was about to make one.
    static var shared: ThreadPool? {
        try? current.withLock { pool in
            if let pool, pool.process == fork_count() { return pool }
            let fresh = ThreadPool()
            // Safe to leak: after a fork the old pool's locks may be held by threads that do not exist here.
            if let pool { _ = Unmanaged.passRetained(pool) }
            pool = fresh
            return fresh
        }
    }

    private static let current = Lock<ThreadPool?>(nil)
    private static let requested = Atomic<Int>(0)

    /// Processors that this process may run on.
    public static let processors: Int = {
        let allowed = Int(kernel_allowed_processors())
        return allowed > 0 ? allowed : max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    }()

    /// Threads that a call uses at most. Set to 0 for one per processor.
    public static var threads: Int {
        get {
            let wanted = requested.load(ordering: .relaxed)
            return wanted > 0 ? wanted : processors
        }
        set { requested.store(newValue, ordering: .relaxed) }
    }

    private let process = fork_count()
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let work = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let finished = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let busy = Atomic<Bool>(false)

    // Guarded by `mutex`.
    private var body: ((Int, Int) -> Void)?
    private var generation = 0
    private var helpersWanted = 0
    private var helpersJoined = 0
    private var helpersRunning = 0
    private var workers = 0

    // The loop under way: the next index to take, and how many there are.
    private let next = Atomic<Int>(0)
    private let count = Atomic<Int>(0)

    // Copies of `generation` and `helpersRunning` for those who spin, without the lock.
    private let started = Atomic<Int>(0)
    private let running = Atomic<Int>(0)

    /// How long a thread spins before it sleeps. A layer is a handful of loops with little between them, and waking a
    /// thread that sleeps takes about as long as the shortest of them.
    private static let spinNanoseconds: UInt64 = 30_000

    private init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(work, nil)
        pthread_cond_init(finished, nil)
    }

    /// Calls `body` with 0 ..< count, each once, on up to `slots` threads; returns when all are done.
    ///
    /// Indices are handed out one at a time, so uneven pieces balance. The second argument is the slot of the thread,
    /// 0 ..< slots: two calls under way at once never have the same, so each slot may own scratch memory. Nothing else
    /// may depend on it. The closure escapes only in the language's sense: when the loop has ended, no helper has a
    /// reference to it, so that what it holds goes when its owner lets it go.
    static func forEach(
        _ count: Int, slots: Int = threads, _ body: @escaping (_ index: Int, _ slot: Int) -> Void
    ) {
        let helpers = min(slots, count) - 1
        if helpers > 0, let pool = shared {
            if pool.busy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged {
                pool.run(count, helpers: helpers, body)
                pool.busy.store(false, ordering: .releasing)
                return
            }
        }
        for index in 0..<max(count, 0) { body(index, 0) }
    }

    private func run(_ total: Int, helpers: Int, _ body: @escaping (Int, Int) -> Void) {
        pthread_mutex_lock(mutex)
        while workers < helpers, startWorker() { workers += 1 }
        self.body = body
        next.store(0, ordering: .relaxed)
        count.store(total, ordering: .relaxed)
        helpersWanted = min(helpers, workers)
        helpersJoined = 0
        generation &+= 1
        started.store(generation, ordering: .releasing)
        pthread_cond_broadcast(work)
        pthread_mutex_unlock(mutex)

        takeTurns(body, slot: 0)

        spin { running.load(ordering: .acquiring) == 0 }
        pthread_mutex_lock(mutex)
        helpersWanted = 0
        while helpersRunning > 0 { pthread_cond_wait(finished, mutex) }
        self.body = nil
        pthread_mutex_unlock(mutex)
    }

    private func takeTurns(_ body: (Int, Int) -> Void, slot: Int) {
        let total = count.load(ordering: .relaxed)
        while true {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            if index >= total { return }
            body(index, slot)
        }
    }

    /// A helper's life: wait for a loop it has not seen, take turns in it, tell the owner when the last helper is done.
    private func serve() {
        var seen = 0
        while true {
            let last = seen
            spin { started.load(ordering: .acquiring) != last }
            pthread_mutex_lock(mutex)
            while generation == seen || helpersWanted == 0 {
                seen = generation
                pthread_cond_wait(work, mutex)
            }
            seen = generation
            helpersWanted -= 1
            helpersJoined += 1
            helpersRunning += 1
            running.store(helpersRunning, ordering: .releasing)
            let slot = helpersJoined
            pthread_mutex_unlock(mutex)
            help(slot: slot)
            pthread_mutex_lock(mutex)
            helpersRunning -= 1
            running.store(helpersRunning, ordering: .releasing)
            if helpersRunning == 0 { pthread_cond_signal(finished) }
            pthread_mutex_unlock(mutex)
        }
    }

    /// A helper's turns. Not inlined: the reference to the body that it takes must be gone when the helper says that it is
    /// done. Safe without the lock: the owner leaves the body alone while helpers run.
    @inline(never)
    private func help(slot: Int) {
        if let body { takeTurns(body, slot: slot) }
    }

    /// Waits for a condition without sleeping, `spinNanoseconds` at most.
    private func spin(until condition: () -> Bool) {
        let start = nanoseconds()
        while !condition() {
            for _ in 0..<16 { kernel_pause() }
            if nanoseconds() &- start > Self.spinNanoseconds { return }
        }
    }

    private func nanoseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    /// Starts one helper, with all signals blocked: they belong to the host's threads. False if the system has none left.
    private func startWorker() -> Bool {
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let me = Unmanaged.passRetained(self)
        let status = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                // The pool lives as long as the process, and so does the reference taken for this thread.
                Unmanaged<ThreadPool>.fromOpaque(argument).takeUnretainedValue().serve()
                return nil
            }, me.toOpaque())
        if status != 0 { me.release() }
        return status == 0
    }
}
