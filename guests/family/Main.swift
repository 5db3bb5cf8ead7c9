import LibOS

/// Guests that make other environments, share with them, and look at what the exokernel exposes; told apart by the name
/// they are started under.
@main enum FamilyGuests {
  static func main() {
    switch Arguments.name {
    case "family": family()
    case "expose": expose()
    case "transfer": transfer()
    case "pressure": pressure()
    case "soak": soak()
    case "share": share()
    default:
      print(
        "\(Arguments.name): not one of this image's guests: family, expose, transfer, pressure, soak, share")
      exit(127)
    }
  }
}
