// The OpenAPI documents and the routes are written by hand, twice. These tests hold them together.

import DroverCore
@testable import DroverHTTP
import DroverWire
import Foundation
import HTTPTypes
import Testing
import Yams

@Suite struct OpenAPITests {
  private static let methods = ["get", "post", "put", "patch", "delete"]

  /// `GET /v1/status`, of a document.
  private func operations(_ document: [UInt8]) throws -> Set<String> {
    let root = try #require(try Yams.load(yaml: String(decoding: document, as: UTF8.self)) as? [String: Any])
    let paths = try #require(root["paths"] as? [String: [String: Any]])
    return Set(
      paths.flatMap { path, item in
        Self.methods.filter { item[$0] != nil }.map { "\($0.uppercased()) \(path)" }
      })
  }

  private func operations(_ routes: [Route]) -> Set<String> { Set(routes.map { "\($0.method.rawValue) \($0.path)" }) }

  @Test func `the cloud's document has every route, and no others`() throws {
    let source = CloudSource(
      reader: NoStore(), changes: NoChanges(), letters: { _ in throw CancellationError() },
      conflicts: { _ in throw CancellationError() },
      worker: { Worker(process: nil) },
      fleet: { nil }, status: { .null }, replay: { _ in nil }, retry: { _ in (0, []) }, now: { 0 }, software: "")
    let worklists = WorklistSource(names: [], open: { _ in throw CancellationError() }, now: { 0 })
    let served = operations(
      CloudRoutes.all(source) + RowRoutes.all(NoRows(), bodyBytes: 1)
        + WorklistRoutes.all(worklists, bodyBytes: 1) + [Tickets().route])
    #expect(served.count > 10)
    #expect(try operations(PackageResources.cloud_yaml) == served)
  }

  @Test func `the edge's document has every route, and no others`() throws {
    let source = EdgeSource(
      intake: NoIntake(), worklists: NoWorklists(), streams: [:], worker: { Worker(process: nil) }, status: { .null },
      report: { nil },
      failures: { [] }, look: {}, now: { 0 }, software: "")
    let served = operations(EdgeRoutes.all(source, bodyBytes: 1))
    #expect(served.count == 9)
    #expect(try operations(PackageResources.edge_yaml) == served)
  }
}

struct NoChanges: ChangeReader {
  func open() throws -> any ChangeSession { throw ChangesError.off }
}

private struct NoRows: RowEditor {
  func table(of origin: MachineStream) throws -> RowTable? { nil }
  func row(_ localID: String, of origin: MachineStream) throws -> (table: RowTable, row: ViewedRow?)? { nil }
  func rows(_ question: RowQuestion, of origin: MachineStream) throws -> (table: RowTable, page: RowPage)? { nil }
  func edit(_ localID: String, _ request: RowEditRequest, of origin: MachineStream) throws -> RowEditOutcome? { nil }
}

private struct NoStore: CloudReader {
  let name = ""
  func refusals(_ filter: RefusalFilter, after id: Int64, limit: Int) throws -> RefusalList { RefusalList() }
  func workers() throws -> [Worker] { [] }
  func report(_ scope: ReportScope) throws -> CloudReport? { nil }
  func waitingSchemas() throws -> [WaitingSchema] { [] }
  func captureFaults() throws -> [CaptureFault] { [] }
  func blockedSinks() throws -> [BlockedSink] { [] }
  func storeLock() -> StoreLock? { nil }
  func latestSchemas() throws -> [ReplicatedStream] { [] }
  func sinks() throws -> [SinkDescription] { [] }
  func readRows(of stream: StreamName?, _ take: (SinkDescription, SinkRow) throws -> Void) throws {}
}

struct NoIntake: EventIntake {
  func take(_ events: [IntakeEvent], into stream: StreamName) throws -> IntakeAnswer { .taken }
}

struct NoWorklists: WorklistDesk {
  func reports() throws -> [WorklistReport] { [] }
  func rows(of worklist: StreamName, limit: Int) throws -> [WorklistRow] { [] }
  func trigger(_ worklist: StreamName) throws {}
  func clear(_ worklist: StreamName) throws -> (removed: Int, unfinished: [String]) { (0, []) }
}
