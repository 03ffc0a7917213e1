// The question that is open with the cloud, transition by transition. Time is a number that the test moves.

import DroverCore
import Testing

@Suite struct CloudQuestionTests {
  private typealias Hearing = CloudQuestion.Outcome
  private let begin = ContinuousClock.now

  private func at(_ seconds: Double) -> ContinuousClock.Instant { begin.advanced(by: .seconds(seconds)) }

  private func open(_ number: Int64 = 7, at seconds: Double = 0) -> CloudQuestion {
    var question = CloudQuestion(limits: AskingLimits())
    question.asked(number, now: at(seconds))
    return question
  }

  /// What a confirmation says, in short.
  private func hear(
    _ question: inout CloudQuestion, answer: Int64?, wentBack: Bool = false, isBehind: Bool = false, at seconds: Double
  ) -> Hearing {
    question.heard(answer: answer, wentBack: wentBack, isBehind: isBehind, now: at(seconds))
  }

  @Test func `nothing is due before the first question, and no confirmation answers it`() {
    var question = CloudQuestion(limits: AskingLimits())
    #expect(question.state == .unasked && question.isInDoubt && !question.isAnswered)
    let isDue = question.isDue(now: at(10_000))
    #expect(!isDue)
    #expect(hear(&question, answer: 0, at: 1) == Hearing(verdict: .take(isAnswer: false), roundTrip: nil))
    #expect(question.state == .unasked)
  }

  @Test func `the first answer closes the question and measures the road, and a second one does not`() {
    var question = open()
    #expect(question.state == .open && question.isInDoubt)
    #expect(hear(&question, answer: 7, at: 3) == Hearing(verdict: .take(isAnswer: true), roundTrip: .seconds(3)))
    #expect(question.state == .answered && question.isAnswered && !question.isInDoubt)
    #expect(hear(&question, answer: 7, at: 9) == Hearing(verdict: .take(isAnswer: true), roundTrip: nil))
  }

  @Test(arguments: [nil, 6]) func `another confirmation counts, and leaves the question open`(answer: Int64?) {
    var question = open()
    #expect(hear(&question, answer: answer, at: 1) == Hearing(verdict: .take(isAnswer: false), roundTrip: nil))
    #expect(question.state == .open)
  }

  @Test func `without an answer it is put again, ever more rarely`() {
    var question = open()
    var times: [Int] = []
    for second in 1...4000 {
      let isDue = question.isDue(now: at(Double(second)))
      guard isDue else { continue }
      times.append(second)
      question.asked(Int64(second), now: at(Double(second)))
    }
    #expect(times == [30, 90, 210, 450, 930, 1530, 2130, 2730, 3330, 3930])
    question.restarted()
    question.asked(1, now: at(4000))
    let isDue = question.isDue(now: at(4030))
    #expect(isDue)
  }

  @Test func `an answered question is not put again`() {
    var question = open()
    _ = hear(&question, answer: 7, at: 1)
    let isDue = question.isDue(now: at(100_000))
    #expect(!isDue)
  }

  @Test(arguments: [7, 6]) func `a cloud that lacks what it had confirmed before any question went back`(answer: Int64)
  {
    var question = open()
    #expect(hear(&question, answer: answer, wentBack: true, isBehind: true, at: 1).verdict == .wentBack)
  }

  @Test func `what answers no question proves nothing about an old state`() {
    var question = open()
    #expect(hear(&question, answer: nil, wentBack: true, at: 1).verdict == .take(isAnswer: false))
  }

  @Test func `a confirmation that lacks something and answers another question leads to a question, but not to many`() {
    var question = open()
    #expect(hear(&question, answer: nil, isBehind: true, at: 4.9).verdict == .ignore)
    #expect(hear(&question, answer: nil, isBehind: true, at: 5).verdict == .ask)
    #expect(hear(&question, answer: 6, isBehind: true, at: 5).verdict == .ask)
    #expect(question.state == .open)
  }

  @Test func `an answer that stays behind has to answer a new question`() {
    var question = open()
    #expect(hear(&question, answer: 7, isBehind: true, at: 6).verdict == .take(isAnswer: true))
    #expect(question.state == .behind(since: at(6)) && question.isInDoubt && question.isAnswered)
    _ = hear(&question, answer: 7, isBehind: true, at: 6.5)
    #expect(question.state == .behind(since: at(6)))
    for (second, expected) in [(6.9, false), (7.0, true)] {
      let isDue = question.isDue(now: at(second))
      #expect(isDue == expected)
    }
    question.asked(8, now: at(7))
    #expect(question.state == .open)
  }

  @Test(arguments: [nil, 7]) func `a confirmation that lacks nothing ends the doubt`(answer: Int64?) {
    var question = open()
    _ = hear(&question, answer: 7, isBehind: true, at: 1)
    _ = hear(&question, answer: answer, at: 1.5)
    #expect(question.state == .answered)
  }

  @Test func `a clock that was set opens what was answered, and asks at most every five seconds`() {
    for isBehind in [false, true] {
      var question = open()
      _ = hear(&question, answer: 7, isBehind: isBehind, at: 1)
      let asksAtOnce = question.clockWasSet(now: at(2))
      #expect(!asksAtOnce && question.state == .open)
      let asksLater = question.clockWasSet(now: at(5))
      #expect(asksLater)
    }
  }

  @Test func `a clock that was set while answers were behind does not put the question off`() {
    var question = open()
    _ = hear(&question, answer: 7, isBehind: true, at: 1)
    _ = question.clockWasSet(now: at(2))
    let due = [4.9, 5].map { second in question.isDue(now: at(second)) }
    #expect(due == [false, true])
  }

  @Test func `a slow answer leads to one more question, unless the connection ends`() {
    for isCut in [false, true] {
      var question = open()
      _ = hear(&question, answer: 7, at: 1)
      question.answerWasSlow(now: at(1))
      if isCut { question.disconnected() }
      let due = [10.9, 11, 12].map { second in question.isDue(now: at(second)) }
      #expect(due == [false, !isCut, false])
    }
  }
}
