import Testing

@testable import PaasbusRedis

@Suite("Names in certificates")
struct ServerNameTests {
  @Test("a name is its own, in any case, and a star stands for one label")
  func matching() throws {
    let name = try #require(ServerName("Redis.Shop.example."))
    for pattern in ["redis.shop.example", "REDIS.shop.EXAMPLE.", "*.shop.example"] {
      #expect(name.matches(pattern), "\(pattern)")
    }
    for pattern in [
      "*", "*.example", "shop.example", "*.redis.shop.example", "r*.shop.example", "", ".",
      "redis.*.example", "redis.shop.example.evil", "xredis.shop.example",
    ] {
      #expect(!name.matches(pattern), "\(pattern)")
    }
    #expect(try #require(ServerName("localhost")).matches("localhost"))
    #expect(try !#require(ServerName("localhost")).matches("*"))
    #expect(try !#require(ServerName("a.b")).matches("*.b"))
  }

  @Test("an address is no name", arguments: ["127.0.0.1", "::1", "fe80::1"])
  func address(text: String) {
    #expect(ServerName(text) == nil)
  }
}
