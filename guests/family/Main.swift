import LibOS

/// Guests that make other environments, share with them, and look at what the exokernel exposes; told apart by the name
/// they are started under.
@main enum FamilyGuests {
  static func main() {
    switch Arguments.name {
    case "family": family()
    case "expose": expose()
    case "share": share()
    default:
      print("\(Arguments.name): not one of this image's guests: family, expose, share")
      exit(127)
    }
  }
}
