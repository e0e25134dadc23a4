import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The benchmark's job on Kafka Streams: follows of each creator in 5 minutes and rolling 24 hours.
 *
 * <p>Processor API, memory stores, no changelog, no cache: its quickest form that still keeps its
 * counts in its own stores. Arguments: bootstrap, topic, application id, folder, records, threshold,
 * threads. Prints one line of JSON, as every engine does.
 */
public final class CountFollows {
    static final long BUCKET_MS = 300_000;
    static final long DAY_MS = 86_400_000;
    static final JsonFactory JSON = new JsonFactory();
    static final AtomicReference<double[]> FIRST = new AtomicReference<>();
    static final AtomicReference<double[]> LAST = new AtomicReference<>();
    static final AtomicLong LEFT = new AtomicLong();
    static final CountDownLatch DONE = new CountDownLatch(1);
    static final Map<String, Long> CROSSED = new ConcurrentHashMap<>();
    static long threshold;

    /** Seconds since 1970, and CPU seconds of the whole process: compiler and collector too. */
    static double[] stamp() {
        var system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return new double[] {System.currentTimeMillis() / 1e3, system.getProcessCpuTime() / 1e9};
    }

    /** Counts the follows of one partition. */
    static final class Count implements Processor<byte[], byte[], Void, Void> {
        private WindowStore<String, Long> buckets;
        private KeyValueStore<String, Long> totals;
        private long newestBucket = Long.MIN_VALUE;
        private String creator;
        private long atMs;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            buckets = context.getStateStore("buckets");
            totals = context.getStateStore("totals");
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            if (FIRST.get() == null) {
                FIRST.compareAndSet(null, stamp());
            }
            decode(record.value());
            long bucket = Math.floorDiv(atMs, BUCKET_MS);
            if (bucket > newestBucket) {
                takeOff(newestBucket, bucket);
                newestBucket = bucket;
            }
            long startMs = bucket * BUCKET_MS;
            Long inBucket = buckets.fetch(creator, startMs);
            buckets.put(creator, inBucket == null ? 1L : inBucket + 1, startMs);
            Long before = totals.get(creator);
            long total = before == null ? 1L : before + 1;
            totals.put(creator, total);
            if (total == threshold) {
                CROSSED.put(creator, atMs);
            }
            if (LEFT.decrementAndGet() == 0) {
                LAST.set(stamp());
                DONE.countDown();
            }
        }

        /** Takes the buckets that leave the 24 hours off the totals. */
        private void takeOff(long fromBucket, long toBucket) {
            if (fromBucket == Long.MIN_VALUE) {
                return;
            }
            long begin = fromBucket * BUCKET_MS - DAY_MS + BUCKET_MS;
            long end = toBucket * BUCKET_MS - DAY_MS;
            try (KeyValueIterator<Windowed<String>, Long> left = buckets.fetchAll(begin, end)) {
                while (left.hasNext()) {
                    KeyValue<Windowed<String>, Long> one = left.next();
                    String key = one.key.key();
                    totals.put(key, totals.get(key) - one.value);
                }
            }
        }

        private void decode(byte[] value) {
            creator = null;
            try (JsonParser parser = JSON.createParser(value)) {
                parser.nextToken();
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    if ("creator_id".equals(name)) {
                        creator = parser.getText();
                    } else if ("at_ms".equals(name)) {
                        atMs = parser.getLongValue();
                    } else {
                        parser.skipChildren();
                    }
                }
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }

    static Topology topology(String topic) {
        Topology topology = new Topology();
        topology.addSource("follows", Serdes.ByteArray().deserializer(),
                Serdes.ByteArray().deserializer(), topic);
        topology.addProcessor("count", Count::new, "follows");
        // Kept two buckets longer than 24 hours: what leaves must still be there to be taken off.
        Duration kept = Duration.ofMillis(DAY_MS + 2 * BUCKET_MS);
        topology.addStateStore(Stores.windowStoreBuilder(
                Stores.inMemoryWindowStore("buckets", kept, Duration.ofMillis(BUCKET_MS), false),
                Serdes.String(), Serdes.Long()).withLoggingDisabled().withCachingDisabled(), "count");
        topology.addStateStore(Stores.keyValueStoreBuilder(
                Stores.inMemoryKeyValueStore("totals"),
                Serdes.String(), Serdes.Long()).withLoggingDisabled().withCachingDisabled(), "count");
        return topology;
    }

    static Properties settings(String[] told) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, told[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, told[2]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, told[3]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, told[6]);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        settings.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 10_000);
        return settings;
    }

    /** Peak resident memory in MB (10^6 bytes). */
    static double peakMb() throws IOException {
        String line = Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(one -> one.startsWith("VmHWM:")).findFirst().orElseThrow();
        return Long.parseLong(line.replaceAll("\\D", "")) * 1024 / 1e6;
    }

    static String answer(KafkaStreams streams) throws IOException {
        long total = 0;
        long largest = 0;
        var buckets = streams.store(StoreQueryParameters.fromNameAndType(
                "buckets", QueryableStoreTypes.<String, Long>windowStore()));
        try (KeyValueIterator<Windowed<String>, Long> all = buckets.all()) {
            while (all.hasNext()) {
                total += all.next().value;
            }
        }
        var totals = streams.store(StoreQueryParameters.fromNameAndType(
                "totals", QueryableStoreTypes.<String, Long>keyValueStore()));
        try (KeyValueIterator<String, Long> all = totals.all()) {
            while (all.hasNext()) {
                largest = Math.max(largest, all.next().value);
            }
        }
        String crossed = CROSSED.entrySet().stream()
                .map(one -> "\"" + one.getKey() + "\":" + one.getValue())
                .collect(Collectors.joining(",", "{", "}"));
        return String.format(java.util.Locale.ROOT,
                "{\"total\":%d,\"largest\":%d,\"crossed\":%s,\"first\":[%.6f,%.6f],"
                        + "\"last\":[%.6f,%.6f],\"peak_rss_mb\":%.1f}",
                total, largest, crossed, FIRST.get()[0], FIRST.get()[1],
                LAST.get()[0], LAST.get()[1], peakMb());
    }

    /** Counts until all records are counted, and prints the answer. */
    public static void main(String[] told) throws Exception {
        LEFT.set(Long.parseLong(told[4]));
        threshold = Long.parseLong(told[5]);
        try (KafkaStreams streams = new KafkaStreams(topology(told[1]), settings(told))) {
            // Else a failure would stop the threads and leave this one waiting for ever.
            streams.setUncaughtExceptionHandler(error -> {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            DONE.await();
            System.out.println(answer(streams));
            System.out.flush();
        }
    }
}
