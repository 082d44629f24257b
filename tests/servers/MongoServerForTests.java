// A MongoDB server for tests, where no mongod is to be had: mongo-java-server on a file of H2's.
//
//     java -cp 'lib/*' MongoServerForTests.java 127.0.0.1 27017 /path/to/data
//
// It says "ready" once it listens. What a write command has done is in the file before the reply goes out,
// so a SIGKILL loses nothing that was acknowledged.

import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;
import java.util.Set;
import org.h2.mvstore.MVStore;

public class MongoServerForTests {

    /** What drivers are told: their newest releases refuse the wire versions that the library announces itself. */
    static final class Announced implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    }

    static final class CommittingBackend extends H2Backend {
        private static final Set<String> WRITES = Set.of(
                "insert", "update", "delete", "findandmodify", "createindexes", "dropindexes",
                "create", "drop", "dropdatabase", "renamecollection");

        CommittingBackend(MVStore store) {
            super(store);
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            String command = message.getDocument().keySet().iterator().next().toLowerCase();
            if (!WRITES.contains(command)) {
                return super.handleMessage(message);
            }
            synchronized (this) {  // no other command's half is written with this one
                try {
                    return super.handleMessage(message);
                } finally {
                    commit();
                }
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        MVStore store = new MVStore.Builder().fileName(arguments[2]).autoCommitDisabled().open();
        CommittingBackend backend = new CommittingBackend(store);
        backend.version(new Announced());
        MongoServer server = new MongoServer(backend);
        server.bind(arguments[0], Integer.parseInt(arguments[1]));
        System.out.println("ready");
        Thread.currentThread().join();
    }
}
