import Exo

/// What a file for `exorun up` says: one machine, the environments in it, and what they share from their start.
struct UpDescription {
  struct Environment {
    /// Unique in the file.
    var name: String
    /// Line of its header, for what goes wrong when it is made.
    var line: Int
    /// The word that names its image, which is also its first argument.
    var guest: String
    var image: GuestImage
    var arguments: [String] = []
    var variables: [String] = []
    /// Most bytes of frames; nil for all of the machine's.
    var memory: UInt64?
    var timeLimit: Duration?
    var capabilities: UInt64 = 65_536
    var bindings: UInt64 = 256
    var environments: UInt64 = 1024
    var input = Console.Input.empty
  }

  struct Share {
    /// What the variable that tells of it is called after: `EXO_SHARE_` and this in capitals.
    var name: String
    var line: Int
    var pages: Int
    /// Places in `environments`.
    var owner: Int
    var receiver: Int
    var rights: Rights
  }

  var memory: UInt64 = 64 << 20
  var processors = 1
  var network = NetworkChoice.none
  var published: [PublishedPort] = []
  /// Line that the machine's memory was given on, or of its table; 1 if the file has none.
  var machineLine = 1
  var environments: [Environment] = []
  var shares: [Share] = []
}
