// Threads that work in the background and live from one piece of work to the next, so that each keeps its decoder and
// its buffers.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace {

class Threads {
   public:
    struct Job {
        std::function<void(int64_t)> work;
        int64_t count, begun = 0, done = 0;  // calls of `work`
        std::condition_variable is_done;

        Job(std::function<void(int64_t)> work, int64_t count) : work(std::move(work)), count(count) {}
    };

    // Starts `count` threads, or as many as the system allows. Signals are left to the program's other threads.
    explicit Threads(int count) {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            threads.reserve(count);
            for (int i = 0; i < count; i++) threads.emplace_back(&Threads::loop, this);
        } catch (const std::exception &) {  // of a thread, or of memory
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    // Ends the threads after the calls that are under way. Jobs that are not done are given up.
    ~Threads() {
        {
            std::lock_guard<std::mutex> hold(mutex);
            is_ending = true;
        }
        wake.notify_all();
        for (std::thread &thread : threads) thread.join();
    }

    int count() const { return int(threads.size()); }

    // Calls work(i) for every i < count in the background, after all jobs that were begun before.
    Job *begin(std::function<void(int64_t)> work, int64_t count) {
        std::lock_guard<std::mutex> hold(mutex);
        auto job = std::make_unique<Job>(std::move(work), count);
        jobs.emplace_back();  // what may fail, first: a job that nobody knows of would never be finished
        if (count > 0) {
            try {
                waiting.push_back(job.get());
            } catch (...) {
                jobs.pop_back();
                throw;
            }
        }
        jobs.back() = std::move(job);
        wake.notify_all();
        return jobs.back().get();
    }

    // True once the job is done, and false if it is not after so long. A job that is done is deleted.
    bool finish(Job *job, std::chrono::milliseconds patience) {
        std::unique_lock<std::mutex> hold(mutex);
        if (!job->is_done.wait_for(hold, patience, [&] { return job->done == job->count; })) return false;
        jobs.erase(std::find_if(jobs.begin(), jobs.end(), [&](const auto &each) { return each.get() == job; }));
        return true;
    }

   private:
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::unique_ptr<Job>> jobs;
    std::deque<Job *> waiting;  // those of which some calls are not begun
    bool is_ending = false;
    std::vector<std::thread> threads;

    void loop() {
        std::unique_lock<std::mutex> hold(mutex);
        while (true) {
            wake.wait(hold, [&] { return is_ending || !waiting.empty(); });
            if (is_ending) return;
            Job &job = *waiting.front();
            const int64_t i = job.begun++;
            if (job.begun == job.count) waiting.pop_front();
            hold.unlock();
            job.work(i);
            hold.lock();
            if (++job.done == job.count) job.is_done.notify_one();
        }
    }
};

}  // namespace
